#!/bin/sh
# install_torch.sh PYTHON [SPECIFICATION …]: the torch asked for; else the one that is there; else the pinned one,
# and where that would pull gigabytes of CUDA, its CPU build from PyTorch's own index.
set -e
python=$1
shift
if [ $# -gt 0 ]; then
    exec "$python" -m pip install "$@"
fi
if "$python" -c "import torch" 2>/dev/null; then
    exec "$python" -c "import torch; print('keeping torch', torch.__version__)"
fi
pinned=$(grep '^torch==' constraints.txt)
if "$python" -m pip install --quiet --dry-run --report - "$pinned" 2>/dev/null | grep -q '"name": "nvidia-'; then
    echo "$pinned comes with CUDA here; taking its CPU build (make lab TORCH=$pinned takes CUDA)"
    set -- --index-url https://download.pytorch.org/whl/cpu
fi
exec "$python" -m pip install --quiet "$pinned" "$@"
