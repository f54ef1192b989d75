"""The Python side of scripts/bench/decode.sh: makes the images, times the reference pipeline, compares outputs.

    decode_reference.py make FOLDER COUNT          512 x 384 JPEG files at quality 85
    decode_reference.py time FOLDER REPEATS [ALBEF]  CPU seconds per image and repeat: plain, and with the RandAugment of
                                                   a checkout of salesforce/ALBEF
    decode_reference.py compare FOLDER OURS        PIL's outputs against files that the Rust side has written to OURS
    decode_reference.py golden FOLDER              what tests/golden/pil holds

The reference is ALBEF's pre-training transform with PIL: decode, random resized crop (bicubic), flip, RandAugment,
numbers in [3, 256, 256]. NumPy stands in for torch's ToTensor and Normalize.
"""

import io
import json
import math
import pathlib
import random
import sys
import time

import numpy
from PIL import Image

SIDE = 256
MEAN = numpy.float32([0.48145466, 0.4578275, 0.40821073]).reshape(3, 1, 1)
STD = numpy.float32([0.26862954, 0.26130258, 0.27577711]).reshape(3, 1, 1)
NAMES = "Identity AutoContrast Equalize Brightness Sharpness ShearX ShearY TranslateX TranslateY Rotate".split()


def smooth(generator, width, height, cell):
    """Noise whose grains are `cell` pixels wide."""
    coarse = generator.standard_normal((height // cell + 3, width // cell + 3)).astype(numpy.float32)
    size = (width + 2 * cell, height + 2 * cell)
    return numpy.asarray(Image.fromarray(coarse).resize(size, Image.BICUBIC))[cell : cell + height, cell : cell + width]


def scene(seed, width=512, height=384):
    """Texture of every size, tints that change slowly, and shapes with sharp edges: as many bytes as a photograph."""
    generator = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0:height, 0:width].astype(numpy.float32)
    luma = sum(smooth(generator, width, height, 2**k) * 2 ** (k / 2) * 8.6 for k in range(8))
    tints = [sum(smooth(generator, width, height, 2**k) * 2 ** (k / 2) * 1.6 for k in (2, 4, 5, 6, 7)) for _ in "rb"]
    image = numpy.stack([luma + tints[0], luma, luma + tints[1]], -1) + generator.uniform(90, 160)
    for _ in range(14):
        centre, angle = generator.uniform(0, 1, 2) * (width, height), generator.uniform(0, math.pi)
        along = (x - centre[0]) * math.cos(angle) + (y - centre[1]) * math.sin(angle)
        across = (y - centre[1]) * math.cos(angle) - (x - centre[0]) * math.sin(angle)
        long, wide = generator.uniform(15, 120, 2)
        round_one = generator.random() < 0.5
        inside = (along / long) ** 2 + (across / wide) ** 2 < 1 if round_one else (abs(along) < long) & (abs(across) < wide)
        image[inside] = image[inside] * generator.uniform(0.3, 1.1) + generator.uniform(-10, 130, 3).astype(numpy.float32)
    return Image.fromarray(numpy.clip(image, 0, 255).astype(numpy.uint8))


def make(folder, count):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        scene(number).save(folder / f"{number:05}.jpg", quality=85)
    sizes = [path.stat().st_size for path in folder.glob("*.jpg")]
    print(f"{count} images, {sum(sizes) / count / 1000:.1f} kB on average")


def crop_box(width, height, draw):
    """torchvision's RandomResizedCrop with scale (0.2, 1)."""
    for _ in range(10):
        area = width * height * draw.uniform(0.2, 1.0)
        ratio = math.exp(draw.uniform(math.log(3 / 4), math.log(4 / 3)))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left, top = draw.randint(0, width - wide), draw.randint(0, height - high)
            return left, top, left + wide, top + high
    wide, high = min(width, round(height * 4 / 3)), min(height, round(width * 4 / 3))
    left, top = (width - wide) // 2, (height - high) // 2
    return left, top, left + wide, top + high


def training_input(data, draw, augment):
    image = Image.open(io.BytesIO(data)).convert("RGB")
    image = image.crop(crop_box(*image.size, draw)).resize((SIDE, SIDE), Image.BICUBIC)
    if draw.random() < 0.5:
        image = image.transpose(Image.FLIP_LEFT_RIGHT)
    pixels = augment(image) if augment else numpy.asarray(image)
    numbers = numpy.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(numpy.float32)
    numbers /= 255
    numbers -= MEAN
    numbers /= STD
    return numbers


def rand_augment(albef):
    import importlib.util

    import cv2

    cv2.setNumThreads(1)
    spec = importlib.util.spec_from_file_location("randaugment", pathlib.Path(albef) / "dataset/randaugment.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.RandomAugment(2, 7, isPIL=True, augs=NAMES)


def variants(albef):
    return [("plain", None)] + ([("augmented", rand_augment(albef))] if albef else [])


def measure(folder, repeats, albef):
    files = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
    for name, augment in variants(albef):
        seconds = []
        for repeat in range(repeats):
            draw, start = random.Random(repeat), time.process_time()
            for data in files:
                training_input(data, draw, augment)
            seconds.append(f"{(time.process_time() - start) / len(files):.7f}")
        print(name, *seconds)


def centre(image):
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def views(image, side):
    """The settings without chance: the whole image, and the square in its middle."""
    image = image.convert("RGB")
    return {
        "whole": image.resize((side, side), Image.BICUBIC),
        "centre": centre(image).resize((side, side), Image.BICUBIC),
    }


def compare(folder, ours, albef):
    worst, total, far, count = 0, 0.0, 0, 0
    for path in sorted(folder.glob("*.jpg"))[:32]:
        for name, expected in views(Image.open(path), SIDE).items():
            got = numpy.fromfile(ours / f"{path.stem}.{name}", numpy.uint8).reshape(SIDE, SIDE, 3)
            apart = abs(got.astype(int) - numpy.asarray(expected).astype(int))
            worst, total = max(worst, apart.max()), total + apart.sum()
            far, count = far + (apart > 4).sum(), count + apart.size
    print(f"whole and centre views: apart by {total / count:.3f} levels on average, {worst} at most, more than 4 in {far / count:.4%}")
    # Where colours are cut at 0 or 255, PIL cuts before it resizes.
    failed = total / count > 0.5 or far / count > 0.005
    files = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
    for name, augment in variants(albef):
        draw = random.Random(0)
        numpy.random.seed(0)
        statistics = json.loads((ours / f"{name}.json").read_text())
        sums = numpy.zeros((2, 3))
        for index in range(statistics["draws"]):
            numbers = training_input(files[index % len(files)], draw, augment)
            sums += [numbers.mean((1, 2)), numbers.std((1, 2))]
        theirs = sums / statistics["draws"]
        apart = abs(theirs - [statistics["mean"], statistics["std"]])
        print(f"{name}: {statistics['draws']} draws, mean of means {theirs[0].round(4)} and of deviations {theirs[1].round(4)}, apart by {apart.max():.4f}")
        failed |= apart.max() > 0.03
    sys.exit("the outputs differ by more than the tolerance" if failed else 0)


def golden(folder):
    folder.mkdir(parents=True, exist_ok=True)
    image = scene(7, 96, 64)
    files = {
        "420.jpg": dict(quality=85),
        "422.jpg": dict(quality=85, subsampling="4:2:2"),
        "444.jpg": dict(quality=92, subsampling="4:4:4"),
        "progressive.jpg": dict(quality=85, progressive=True),
        "restart.jpg": dict(quality=85, restart_marker_blocks=5),
        "grey.jpg": dict(quality=85),
        "lossless.png": {},
    }
    for name, options in files.items():
        stored = image.convert("L") if name == "grey.jpg" else image
        stored.save(folder / name, **options)
        for view, pixels in views(Image.open(folder / name), 40).items():
            pixels.save(folder / f"{name}.{view}.png", optimize=True)


if __name__ == "__main__":
    verb, folder, *rest = sys.argv[1:]
    folder = pathlib.Path(folder)
    if verb == "make":
        make(folder, int(rest[0]))
    elif verb == "time":
        measure(folder, int(rest[0]), rest[1] if len(rest) > 1 else None)
    elif verb == "compare":
        compare(folder, pathlib.Path(rest[0]), rest[1] if len(rest) > 1 else None)
    else:
        golden(folder)
