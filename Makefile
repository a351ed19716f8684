# make lab    install, fetch the default model and sentences, open JupyterLab on the first lesson
# make test   the whole suite: laws, oracles, lessons, browser        make test-quick   without the last two
# make bench  lorakit beside PEFT and loralib on the same work        make lint         ruff and mypy
# make fetch  fill the cache (ARGS=--all for every model and task)    make mutants      planted faults, all caught?
# make assignments  the students' notebooks, the solutions and what two graders read, from one source each
# make grade SUBMISSIONS=folder   marks, feedback and a picture of a class (ARGS="--assignment 1_derive --again")
# make gradescope  the zips that Gradescope reads, each tried        make test-grading  both graders, and 30 students
# make wheel  a wheel beside the notebooks, to upload to a hosted notebook
# make bundle wheel, lessons and assignments in one zip, for Colab or a folder of one's own
# make colab  widgets, plots, lessons and assignments with a hosted notebook's versions, out of that zip
# make site   the lessons, executed, as pages that need no kernel     make figures      all their figures as files

PYTHON ?= python3
VENV   ?= .venv
TORCH  ?=
ARGS   ?=
BIN    := $(VENV)/bin
STAMPS := $(VENV)/stamps
COLAB  := $(VENV)-colab
GRADERS := $(VENV)-graders
LESSONS ?= $(basename $(notdir $(wildcard notebooks/*.ipynb notebooks/assignments/*.ipynb)))
# Assignments that are solved there as well: all.
SOLVED ?= $(basename $(notdir $(wildcard notebooks/assignments/*.ipynb)))
# Defaults of this lab alone, under the user's own settings: a saved notebook keeps the pictures of its widgets.
SETTINGS := "$(CURDIR)/tools/jupyter$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}"

.PHONY: lab test test-quick bench lint fetch mutants wheel assignments grade gradescope test-grading bundle colab site figures
.DELETE_ON_ERROR:

lab: $(STAMPS)/lab
	@$(BIN)/python -m lorakit.assets
	JUPYTER_CONFIG_PATH=$(SETTINGS) $(BIN)/jupyter lab notebooks/00_start_here.ipynb $(ARGS)

fetch: $(STAMPS)/lab
	@$(BIN)/python -m lorakit.assets $(ARGS)

test: test-quick
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "lessons or browser" $(ARGS)

test-quick: $(STAMPS)/test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not lessons and not browser" $(ARGS)

bench: $(STAMPS)/test
	$(BIN)/python -m benchmarks $(ARGS)

mutants: $(STAMPS)/test
	$(BIN)/python tests/mutants.py $(ARGS)

assignments: $(STAMPS)/lab
	$(BIN)/python -m lorakit.course assignments $(ARGS)

grade: $(GRADERS)/ready
	@test -n "$(SUBMISSIONS)" || { echo "make grade SUBMISSIONS=folder: one folder, or one file, a student"; exit 2; }
	@$(GRADERS)/bin/python -m lorakit.course grade "$(SUBMISSIONS)" $(ARGS)

gradescope: $(GRADERS)/ready
	@$(GRADERS)/bin/python -m lorakit.course gradescope $(ARGS)

test-grading: $(GRADERS)/ready
	OMP_NUM_THREADS=1 $(GRADERS)/bin/python -m pytest -n 2 --dist loadfile -m grading tests/course $(ARGS)

wheel: $(STAMPS)/lab
	@rm -rf build/lib build/bdist.*
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir notebooks .

bundle: $(STAMPS)/lab
	$(BIN)/python tools/bundle.py dist/lorakit-lessons.zip

colab: $(COLAB)/ready bundle assignments
	OMP_NUM_THREADS=1 $(COLAB)/bin/python -m pytest -m "not browser and not model" \
		tests/test_widgets.py tests/test_explorers.py tests/test_plots.py tests/test_export.py tests/test_frozen.py
	$(COLAB)/bin/python tests/hosted.py dist/lorakit-lessons.zip $(LESSONS) $(addprefix solved/,$(SOLVED))

site: $(STAMPS)/test
	$(BIN)/python -m gallery

figures: $(STAMPS)/test
	$(BIN)/python -m gallery.figures $(ARGS)

lint: $(STAMPS)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# ── Installing ──────────────────────────────────────────────────────────────────────────────────────────
# A torch that the system's Python has already is the one that is used. TORCH takes another: README, "Which torch".

$(BIN)/python:
	$(PYTHON) -m venv $$($(PYTHON) -c "import torch" 2>/dev/null && echo --system-site-packages) $(VENV)

$(STAMPS)/torch: $(BIN)/python $(if $(TORCH),asked)
	@mkdir -p $(STAMPS)
	@sh tools/install_torch.sh $(BIN)/python $(TORCH)
	@touch $@

$(STAMPS)/lab: $(STAMPS)/torch requirements.txt constraints.txt pyproject.toml
	@grep -v '^torch==' constraints.txt > $(STAMPS)/constraints.txt
	$(BIN)/python -m pip install --quiet -c $(STAMPS)/constraints.txt -e ".[lab]"
	@touch $@

$(STAMPS)/test: $(STAMPS)/lab
	$(BIN)/python -m pip install --quiet -c $(STAMPS)/constraints.txt -e ".[lab,test,peers,lint,export,cluster,site]"
	@touch $@

# lorakit itself is not installed there: the first cell of a lesson does that, from the wheel beside it.
$(COLAB)/ready: tests/colab.txt
	$(PYTHON) -m venv $$($(PYTHON) -c "import torch" 2>/dev/null && echo --system-site-packages) $(COLAB)
	sh tools/install_torch.sh $(COLAB)/bin/python
	$(COLAB)/bin/python -m pip install --quiet -r tests/colab.txt
	@touch $@

# Two graders that a student never needs, and the lorakit of this folder: what is graded is what is handed out.
$(GRADERS)/ready: graders.txt constraints.txt pyproject.toml
	$(PYTHON) -m venv $$($(PYTHON) -c "import torch" 2>/dev/null && echo --system-site-packages) $(GRADERS)
	sh tools/install_torch.sh $(GRADERS)/bin/python
	@grep -v '^torch==' constraints.txt > $(GRADERS)/constraints.txt
	$(GRADERS)/bin/python -m pip install --quiet -c $(GRADERS)/constraints.txt -r graders.txt -e ".[test]"
	@touch $@

.PHONY: asked
asked:
