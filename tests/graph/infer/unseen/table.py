"""Every network of this folder by name."""

from tests.graph.infer.unseen import convnets, fused, language, residual, sequences, vectors, vision_language

CASES = {
    name: case
    for family in (residual, convnets, vision_language, language, fused, sequences, vectors)
    for name, case in family.CASES.items()
}
