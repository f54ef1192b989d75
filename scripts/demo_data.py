#!/usr/bin/env python3
"""Fetches the demo's emoji artwork with npm and writes captions files for `tandem data import`.

Usage: demo_data.py FOLDER

FOLDER receives the unpacked images, train.tsv (Noto and Twemoji, with skin tones, several captions an image) and held-out.tsv
(Fluent, a style that is never trained on, without skin tones). Exit code 3: npm is missing or can't fetch.
"""

import json
import random
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

TRAIN = {"google": "emoji-datasource-google@16.0.0", "twitter": "emoji-datasource-twitter@16.0.0"}
HELD_OUT = "@lobehub/fluent-emoji-3d@1.1.0"
NAMES = "emojibase-data@17.0.0"
CAPTIONS = 3  # of each training image, each with other tags; images with a skin tone, which are many and alike, get one


def fetch(package: str, folder: Path) -> Path:
    """Fetches and unpacks an npm package, unless it is there; returns its folder."""
    target = folder / package.replace("/", "-").replace("@", "-").strip("-")
    if target.is_dir():
        return target
    print(f"demo: fetching {package}", flush=True)
    done = subprocess.run(
        ["npm", "pack", package, "--silent", "--pack-destination", str(folder)],
        stdout=subprocess.PIPE, check=False, text=True,
    )
    name = done.stdout.strip().splitlines()[-1:] or [""]
    archive = folder / Path(name[0]).name
    if done.returncode != 0 or not archive.is_file():
        print(f"demo: npm can't fetch {package}: is there a network?", file=sys.stderr)
        sys.exit(3)
    partial = folder / (target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(archive) as packed:
        wanted = [m for m in packed.getmembers() if m.isfile() and useful(m.name)]
        packed.extractall(partial, members=wanted, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    archive.unlink()
    partial.rename(target)
    return target


def useful(name: str) -> bool:
    """Whether a file of a package is needed: 64-pixel artwork, the held-out artwork, the English names."""
    return any(part in name for part in ("/64/", "/assets/", "/en/data.json"))


def key(code_points: str) -> str:
    """Code points in the form that all packages share: lower case, no variation selector, no leading zeros."""
    return "-".join(part.lstrip("0") for part in code_points.lower().split("-") if part != "fe0f")


def names(package: Path) -> dict[str, tuple[str, list[str], bool]]:
    """Label, tags and whether it has a skin tone, by key."""
    found = {}
    for emoji in json.loads((package / "package/en/data.json").read_text(encoding="utf-8")):
        tags = emoji.get("tags", [])
        found[key(emoji["hexcode"])] = (emoji["label"], tags, False)
        for skin in emoji.get("skins", []):
            found[key(skin["hexcode"])] = (skin["label"], skin.get("tags", tags), True)
    return found


def images(folder: Path, root: Path, known: dict) -> list[tuple[str, tuple[str, list[str], bool]]]:
    """The images with a name: path below `root`, and the name; in a fixed order."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".png", ".webp"))
    return [(str(path.relative_to(root)), known[key(path.stem)]) for path in paths if key(path.stem) in known]


def caption(label: str, tags: list[str]) -> str:
    """A label and some of its tags."""
    return ", ".join([label, *tags]).replace("\t", " ")


def write(path: Path, lines: list[tuple[str, str]]) -> None:
    path.write_text("".join(f"{image}\t{text}\n" for image, text in lines), encoding="utf-8")


def main() -> None:
    folder = Path(sys.argv[1])
    if shutil.which("npm") is None:
        print("demo: npm is missing (apt-get install npm fetches it)", file=sys.stderr)
        sys.exit(3)
    folder.mkdir(parents=True, exist_ok=True)
    known = names(fetch(NAMES, folder))
    drawn = random.Random(1)
    train = []
    for package in TRAIN.values():
        for image, (label, tags, toned) in images(fetch(package, folder), folder, known):
            for _ in range(1 if toned else CAPTIONS):
                some = drawn.sample(tags, min(len(tags), drawn.randint(0, 4)))
                train.append((image, caption(label, some)))
    # Row groups are shuffled as a whole and rows inside windows of them: styles and variants are mixed here.
    drawn.shuffle(train)
    held_out = images(fetch(HELD_OUT, folder), folder, known)
    test = [(image, caption(label, tags[:3])) for image, (label, tags, toned) in held_out if not toned]
    if len(train) < 14_000 or len(test) < 1_800:
        sys.exit(f"demo: only {len(train)} training and {len(test)} held-out pairs: have the packages changed?")
    write(folder / "train.tsv", train)
    write(folder / "held-out.tsv", test)
    print(f"demo: {len(train)} training pairs, {len(test)} held-out pairs")


if __name__ == "__main__":
    main()
