"""`weightspace generate`: new networks on demand, and the audit of them."""

from __future__ import annotations

import json as jsonlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from weightspace.cli.manners import UsageError, complain, progress
from weightspace.cli.show import show

if TYPE_CHECKING:
    from weightspace.audit.audit import Audit
    from weightspace.checkpoint.checkpoint import Checkpoint
    from weightspace.generate.generator import Generator
    from weightspace.generate.sample import Sample


@Parameter(name="*")
@dataclass(frozen=True)
class What:
    """What the networks are to be.

    Args:
        condition: Such as test_accuracy=0.95, test_accuracy=0.9.. or activation=relu,width=16; may be repeated.
        architecture: A family with options, such as smallcnn:width=8,activation=relu, or POPULATION:ARCHITECTURE; by
            default that of the training network nearest to each.
        guidance: How far the condition is followed, 1 as the training networks do (default 1.5); of a flow alone.
        temperature: Of the noise that a flow begins with (default 1); more makes newer and worse networks.
        beyond: Let numbers be asked for that no training network reached.
        seed: Of all that is drawn.
    """

    condition: tuple[str, ...] = ()
    architecture: str | None = None
    guidance: float | None = None
    temperature: Annotated[float, Parameter(validator=Number(gt=0))] = 1.0
    beyond: bool = False
    seed: int = 0


@Parameter(name="*")
@dataclass(frozen=True)
class How:
    """With which decoder, and what is done with a folder that is there.

    Args:
        decoder: Name of a decoder that ships, or its folder; by default the one that the generator was audited with.
        force: Replace an existing folder that this command wrote.
    """

    decoder: str | None = None
    force: bool = False


_ANY, _PLAIN = What(), How()
GUIDANCE = 1.5  # of a flow that is asked for something
MARK = "audit.json"  # by which a folder that this command wrote is known


def generate(
    name: str,
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    count: Annotated[int, Parameter(validator=Number(gte=1))] = 16,
    what: What = _ANY,
    how: How = _PLAIN,
    json: bool = False,
) -> int:
    """Make networks that were never trained, and audit them: are they good, new, diverse, and what was asked?

    Writes one safetensors file a network, which carries its program and where it comes from, and the audit as
    audit.html, audit.md and audit.json. The audit is always made.

    Args:
        name: A generator that ships, or its folder.
        output: The folder to write, which is not there yet.
        count: How many networks.
        what: What the networks are to be.
        how: With which decoder.
        json: Print the audit as one JSON object.
    """
    _check_folder(output, force=how.force)
    from weightspace.audit.audit import audit_sample
    from weightspace.audit.reference import Reference
    from weightspace.decode.decoder import Decoder
    from weightspace.generate.files import find_generator
    from weightspace.generate.generator import Generator

    folder = find_generator(name)
    generator, reference = Generator.from_pretrained(folder), Reference.load(folder)
    decoder = Decoder.from_pretrained(how.decoder or reference.decoder.rpartition("@")[0])
    sample = _draw(generator, count, what)
    sample = _in_architecture(sample, what.architecture, decoder, tuple(reference.inputs.shape[1:]))
    about = {
        "generator": f"{generator.name} ({generator.kind})",
        "decoder": decoder.id,
        "encoder": sample.encoder,
        "condition": ", ".join(what.condition) or "none",
        "seed": str(what.seed),
    }
    checkpoints = sample.decode(decoder, reference.inputs)
    audit = audit_sample(sample, generator, decoder, reference, about)
    _write(output, checkpoints, audit, force=how.force)
    _tell(output, audit, checkpoints, json=json)
    return 0


def _check_folder(output: Path, *, force: bool) -> None:
    """Refuse to write into what is there, unless it is to be replaced and was written by this command."""
    if output.exists() and not (force and (output / MARK).is_file()):
        hint = "it is no folder of generated networks" if force else "pass --force to replace generated networks"
        raise UsageError(f"{output} exists: {hint}, or name another folder.")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"{output} cannot be written: there is no folder {output.absolute().parent}.")


def _draw(generator: Generator, count: int, what: What) -> Sample:
    guidance = what.guidance
    if guidance is None:
        guidance = GUIDANCE if generator.prior.guided and what.condition else 1.0
    return generator.sample(
        count,
        condition=what.condition,
        seed=what.seed,
        guidance=guidance,
        beyond=what.beyond,
        temperature=what.temperature,
    )


def _in_architecture(sample: Sample, architecture: str | None, decoder: Any, inputs: tuple[int, ...]) -> Sample:
    """Give every network one architecture, by default for the inputs that the audit tests on."""
    if architecture is None:
        return sample
    from dataclasses import replace

    from weightspace.zoo.architecture import architecture_of
    from weightspace.zoo.families.signature import Signature

    program = architecture_of(architecture, signature=Signature(inputs, decoder.classes))
    decoder.check_architecture(program)
    return replace(sample, architectures=(program.to_json(),) * len(sample))


def _write(output: Path, checkpoints: list[Checkpoint], audit: Audit, *, force: bool) -> None:
    """Write everything into a folder that is there whole or not at all."""
    from weightspace.audit.report import write_markdown
    from weightspace.audit.report_page import write_audit_page

    draft = output.with_name(f".{output.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir()
        with progress("network") as update:
            for i, checkpoint in enumerate(checkpoints):
                checkpoint.save(draft / f"{i:05d}.safetensors")
                update(i + 1, len(checkpoints))
        (draft / "audit.html").write_text(write_audit_page(audit), encoding="utf-8")
        (draft / "audit.md").write_text(write_markdown(audit), encoding="utf-8")
        (draft / MARK).write_text(jsonlib.dumps(audit.as_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        if force and output.exists():
            shutil.rmtree(output)
        draft.rename(output)
    except OSError as error:
        raise UsageError(f"{output} cannot be written ({error.strerror}): name another folder.") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _tell(output: Path, audit: Audit, checkpoints: list[Checkpoint], *, json: bool) -> None:
    from weightspace.audit.report import NOTES, audit_sections

    first = output / "00000.safetensors"
    run = f'weightspace.to_module(weightspace.load_checkpoint("{first}"))(inputs)'
    if json:
        told = {"output": str(output), "networks": len(checkpoints), "run": run, **audit.as_dict()}
        print(jsonlib.dumps(told, indent=1, allow_nan=False))
        return
    show(audit_sections(audit))
    print("\n".join(NOTES) + f"\n\n{len(checkpoints)} networks in {output}, the audit in {output / 'audit.html'}")
    print(f"run one: {run}")
    copies = audit.rows[0].least_novel
    if copies < 0.25:
        complain(f"one in ten of the networks is near to a copy: novelty {copies:.2f} where a fresh training has 1.")
