"""Merges a trained policy into a 16-bit model that any runtime can load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from rlvr import provenance
from rlvr.engines import device, models

CARD = """---
library_name: transformers
pipeline_tag: text-generation
tags: [rlvr]
{base_model}---
# {title}

Trained by an RLVR workflow (SFT warm-start and GRPO with verifiable rewards) from `{base}`, merged and
stored as {dtype} safetensors. The prompt format is the chat template that comes with the tokenizer.

Made from the policy whose manifest has sha256 `{policy}`, with this configuration:

```json
{config}
```
"""


def run(config: dict[str, Any], *, base: Path, policy: Path, weights: Path) -> dict[str, Any]:
    """Writes the merged model, its tokenizer and a model card to the folder `weights`."""
    chosen = device.choose(config["device"])
    model = models.merged(base, policy, chosen).to(getattr(torch, config["dtype"]))
    model.save_pretrained(weights)
    models.load_tokenizer(policy).save_pretrained(weights)
    (weights / "README.md").write_text(_card(config, policy, weights))
    return {"device": str(chosen), "merged_adapter": models.is_adapter(policy)}


def _card(config: dict[str, Any], policy: Path, weights: Path) -> str:
    base = config["base"]
    manifest = provenance.find_manifest(policy)
    trained = json.loads(manifest.read_text())["config"] if manifest else {}
    hub = base["model"] if base["revision"] else None
    return CARD.format(
        base_model=f"base_model: {hub}\n" if hub else "",
        title="/".join(weights.parts[-4:-1]),
        base=base["model"],
        dtype=config["dtype"],
        policy=provenance.sha256(manifest) if manifest else "unknown",
        config=json.dumps(trained, indent=1),
    )
