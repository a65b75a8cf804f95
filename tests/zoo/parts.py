"""Small networks on their way into a population, shared by the tests."""

import pandas as pd
import torch

from weightspace.zoo.append import Part, describe_shapes


def make_part(start, count=3, width=4):
    generator = torch.Generator().manual_seed(start)
    tensors = {
        "w": torch.randn(count, width, 2, generator=generator).half(),
        "b": torch.randn(count, width, generator=generator),
        "steps": torch.arange(count),
    }
    rows = pd.DataFrame({"id": [f"p/{start + i}" for i in range(count)], "run": range(start, start + count)})
    rows = rows.assign(accuracy=[i / 10 for i in range(count)], note="x")
    return Part(rows, tensors, {"shapes": describe_shapes(tensors)})
