"""Loads what `tandem export` wrote with the tools that people use, strictly, and compares with what Tandem computed.

Usage: check.py FOLDER, which holds out.pth, out.safetensors, hf-student, hf-teacher, captions.txt and expected.safetensors.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoTokenizer, BertModel, ViTModel

TIED = {"decoder.weight": "text_encoder.bert.embeddings.word_embeddings.weight", "decoder.bias": "text_encoder.cls.predictions.bias"}


def teacher_name(name):
    head, rest = name.split(".", 1)
    return f"{head}_m.{rest}"


def check_state_dict(found, expected):
    """Every tensor of student and teacher under its published name, what is tied, the queues, and nothing else."""
    wanted = {}
    for name, tensor in expected.items():
        if name.startswith("student/"):
            wanted[name[8:]] = tensor
        elif name.startswith("teacher/"):
            wanted[teacher_name(name[8:])] = tensor
    for end, original in TIED.items():
        copy = f"text_encoder.cls.predictions.{end}"
        wanted[copy] = wanted[original]
        wanted[teacher_name(copy)] = wanted[teacher_name(original)]
    positions = torch.arange(wanted["text_encoder.bert.embeddings.position_embeddings.weight"].shape[0])[None]
    for name in ("text_encoder.bert.embeddings.position_ids", "text_encoder_m.bert.embeddings.position_ids"):
        wanted[name] = positions
    for side in ("image", "text"):
        wanted[f"{side}_queue"] = expected[f"queue/{side}"].T
    assert set(found) - set(wanted) == {"queue_ptr"}, set(found) ^ set(wanted)
    assert found["queue_ptr"].shape == (1,) and found["queue_ptr"].dtype == torch.int64
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name
    return len(found)


def strict(kind, folder):
    model, info = kind.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    wrong = {key: value for key, value in info.items() if value}
    assert not wrong, f"{folder}: {wrong}"
    return model.eval()


def largest(found, expected):
    difference = (found - expected).abs().max().item()
    assert difference <= 1e-5, difference
    return difference


def main(folder):
    expected = load_file(folder / "expected.safetensors")
    saved = torch.load(folder / "out.pth", weights_only=True)
    print(f"torch.load: {check_state_dict(saved['model'], expected)} tensors of step {saved['step']}")
    print(f"safetensors: {check_state_dict(load_file(folder / 'out.safetensors'), expected)} tensors")
    ids, lengths, images = expected["ids"], expected["lengths"], expected["images"]
    mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
    captions = (folder / "captions.txt").read_text().split("\n")
    for which in ("student", "teacher"):
        place = folder / f"hf-{which}"
        tokens = AutoTokenizer.from_pretrained(place / "text")(captions, padding=True, return_tensors="pt")
        assert torch.equal(tokens["input_ids"], ids) and torch.equal(tokens["attention_mask"], mask)
        processor = AutoImageProcessor.from_pretrained(place / "vision")
        assert processor(torch.zeros(3, 20, 30, dtype=torch.uint8), return_tensors="pt")["pixel_values"].shape == images[:1].shape
        with torch.no_grad():
            text = strict(BertModel, place / "text")(input_ids=ids, attention_mask=mask).last_hidden_state
            image = strict(ViTModel, place / "vision")(pixel_values=images).last_hidden_state
        # Padding is nobody's output.
        text_apart = largest(text[mask.bool()], expected[f"out/{which}/text"][mask.bool()])
        image_apart = largest(image, expected[f"out/{which}/image"])
        print(f"transformers, {which}: text {text_apart:.1e} and image {image_apart:.1e} apart")
    print("all is as expected")


main(Path(sys.argv[1]))
