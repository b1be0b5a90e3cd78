"""The page: one HTML file made from the document of a comparison and its pictures, and from nothing else.

Every text is escaped, every number is one of the document's. `page.html` is its frame, with styles and program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any

from diffusers_deis_sn.comparison.charts import Curve, error_curves, grids_chart, normaliser_curve
from diffusers_deis_sn.comparison.contenders import WITH_PLANS
from diffusers_deis_sn.comparison.embedding import Key, embedded
from diffusers_deis_sn.comparison.grids import PIXELS
from diffusers_deis_sn.comparison.keeping import CONVERGED
from diffusers_deis_sn.comparison.numbers import number, percent, plain
from diffusers_deis_sn.escaping import html
from diffusers_deis_sn.learn.export import sigma_list

Document = Mapping[str, Any]
VERDICTS = {
    "ours": "Recommended",
    "rival": "Recommended: another scheduler than ours",
    "draw": "No difference that is sure",
    "alone": "Nothing to compare with",
}
COLOURS = 6  # of rivals


def page(document: Document, pictures: Mapping[Key, Sequence[bytes]]) -> str:
    """The page of a comparison.

    Args:
        document: Of `Comparison.document`.
        pictures: Files by scheduler and calls, see `Comparison`.
    """
    rows = document["rows"]
    further = [(row["scheduler"], row["calls"]) for row in rows if row["further"] and _is_equal(document, row)]
    keys = [(CONVERGED, 0), *((row["scheduler"], row["calls"]) for row in rows if not row["further"]), *further]
    shown = embedded(pictures, keys)
    size = document["picture_size"]
    return Template((files(__package__) / "page.html").read_text("utf-8")).substitute(
        title=_text(f"{document['model']}: schedulers compared"),
        model=_text(document["model"]),
        subtitle=_subtitle(document),
        meaning=_text(
            "The converged picture is the one that more steps no longer change, here of "
            f"{document['reference']['steps']} steps. A run of few steps is the better, the nearer it ends to it."
        ),
        recommendation=_recommendation(document),
        look=_look(document, shown) if shown else "",
        table=table(document),
        curves=_curves(document),
        grids=_grids(document),
        normaliser=_normaliser(document),
        measured=_measured(document),
        steps=len(document["steps"]),
        pixels="pixels" if size and max(size) <= PIXELS else "photos",
        version=_text(document["versions"].get("diffusers_deis_sn", "")),
    )


def summary(document: Document) -> str:
    """The recommendation and the table for a notebook, without styles or program."""
    code = "\n".join(map(_text, document["recommendation"]["code"]))
    return (
        f"<p><strong>{_text(document['recommendation']['sentence'])}</strong> "
        f"{_text(document['recommendation']['detail'])}</p><pre>{code}</pre>{table(document)}"
    )


# ---------------------------------------------------------------------------------------------------- recommendation


def _subtitle(document: Document) -> str:
    prompts = document["num_prompts"]
    parts = [f"{prompts} prompt{'s' if prompts > 1 else ''}"]
    guidance = document["arguments"].get("guidance_scale")
    if isinstance(guidance, int | float):
        parts.append(f"guidance {guidance:g}")
    parts += ["the same noise for all", "as many network calls"]
    return _text(", ".join(parts))


def _recommendation(document: Document) -> str:
    told = document["recommendation"]
    parts = [
        f'<p class="verdict">{VERDICTS[told["verdict"]]}</p>',
        f'<h2 class="sentence">{_text(told["sentence"])}</h2>',
        f"<p>{_text(told['detail'])}</p>" if told["detail"] else "",
        _code("code", told["code"], "Paste this before you call the pipeline"),
    ]
    if told["sigmas"]:
        parts.append(
            "<details><summary>Noise levels for other programs (ComfyUI, AUTOMATIC1111, Forge)</summary>"
            f"<p>The {told['calls']} calls of this run and its end. They give the other program this time grid, not "
            f"this solver.</p>{_code('sigmas', [sigma_list(told['sigmas'])])}</details>"
        )
    return "".join(parts)


def _code(name: str, lines: Sequence[str], title: str = "") -> str:
    heading = f"<p class='quiet'>{_text(title)}</p>" if title else ""
    text = "\n".join(map(_text, lines))
    return (
        f'{heading}<div class="code"><pre id="{name}">{text}</pre>'
        f'<button type="button" class="copy" data-copy="{name}">Copy</button></div>'
    )


# ---------------------------------------------------------------------------------------------------------- pictures


def _look(document: Document, shown: Mapping[Key, Sequence[str]]) -> str:
    """The slider, and for each prompt a grid of pictures; the program shows one prompt at a time."""
    count = len(shown[CONVERGED, 0])
    prompts = _prompts(document, count)
    chips = "".join(
        f'<button type="button" class="chip" data-prompt="{i}" aria-pressed="{str(i == 0).lower()}">'
        f"{_text(prompt)}</button>"
        for i, prompt in enumerate(prompts)
    )
    grids = "".join(_grid(document, shown, i, prompt) for i, prompt in enumerate(prompts))
    left = document["recommendation"]["best_rival"]
    right = document["recommendation"]["best_of_ours"]
    calls = document["recommendation"]["calls"]
    options = _options(shown)
    return Template((files(__package__) / "look.html").read_text("utf-8")).substitute(
        chips=chips,
        grids=grids,
        options=options,
        left=_text(f"{left}@{calls}"),
        right=_text(f"{right}@{calls}"),
        some="" if count == document["num_prompts"] else _text(f"The first {count} of {document['num_prompts']}."),
    )


def _prompts(document: Document, count: int) -> list[str]:
    prompts = document["prompts"]
    return list(prompts[:count]) if prompts else [f"seed {document['seed'] + i}" for i in range(count)]


def _options(shown: Mapping[Key, Sequence[str]]) -> str:
    names = [f"{name}@{calls}" for name, calls in shown if name != CONVERGED]
    labels = [f"{name} · {calls} steps" for name, calls in shown if name != CONVERGED]
    one = [f'<option value="{_text(key)}">{_text(label)}</option>' for key, label in zip(names, labels, strict=True)]
    return "".join(['<option value="converged@0">converged</option>', *one])


def _grid(document: Document, shown: Mapping[Key, Sequence[str]], i: int, prompt: str) -> str:
    """All pictures of a prompt: rows are schedulers, columns numbers of steps, and the converged one once."""
    rows = {(row["scheduler"], row["calls"]): row for row in document["rows"]}
    names = list(dict.fromkeys(name for name, _ in shown if name != CONVERGED))
    steps = document["steps"]
    least = {
        calls: min(row["distances"][i] for row in rows.values() if row["calls"] == calls and not row["further"])
        for calls in steps
    }
    converged = _picture(shown[CONVERGED, 0][i], "converged@0", f"converged: {prompt}")
    head = "".join(f"<th scope='col'>{calls} steps</th>" for calls in steps)
    lines = []
    for name in names:
        cells = []
        for calls in steps:
            found = shown.get((name, calls))
            if found is None:
                cells.append("<td></td>")
                continue
            distance = rows[name, calls]["distances"][i]
            best = " class='best'" if distance == least[calls] else ""
            picture = _picture(found[i], f"{name}@{calls}", f"{name}, {calls} steps: {prompt}")
            cells.append(f"<td>{picture}<span{best}>{number(distance)}</span></td>")
        ours = " class='ours'" if any(row["ours"] for key, row in rows.items() if key[0] == name) else ""
        lines.append(f"<tr{ours}><th scope='row'>{_text(name)}</th>{''.join(cells)}</tr>")
    extra = "".join(
        f'<img hidden data-key="{_text(f"{name}@{calls}")}" alt="" src="{found[i]}">'
        for (name, calls), found in shown.items()
        if name != CONVERGED and calls not in steps
    )
    return (
        f'<section class="prompt" data-prompt="{i}" aria-label="{_text(prompt)}"><h3>{_text(prompt)}</h3>'
        f'<div class="grid"><figure class="converged">{converged}<figcaption>converged, '
        f"{document['reference']['steps']} steps</figcaption></figure>"
        f'<div class="scroll"><table><thead><tr><td></td>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
        f"</div></div>{extra}</section>"
    )


def _picture(source: str, key: str, words: str) -> str:
    return (
        f'<button type="button" class="zoom"><img data-key="{_text(key)}" alt="{_text(words)}" src="{source}"></button>'
    )


# ----------------------------------------------------------------------------------------------------------- numbers


def table(document: Document) -> str:
    """All rows, the least distance of each column bold; headings are buttons that sort where the program runs."""
    heads = (
        ("scheduler", "text"),
        ("steps", "number"),
        ("distance", "number"),
        ("RMS", "number"),
        ("worst tenth", "number"),
        ("times the nearest rival", "number"),
        ("s / picture", "number"),
    )
    head = "".join(
        f'<th scope="col" data-kind="{kind}"><button type="button">{name}</button></th>' for name, kind in heads
    )
    least = {
        calls: min(row["geometric_mean"] for row in document["rows"] if row["calls"] == calls and not row["further"])
        for calls in document["steps"]
    }
    lines = [_table_row(row, least) for row in document["rows"]]
    return f'<table class="numbers"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _table_row(row: Mapping[str, Any], least: Mapping[int, float]) -> str:
    kind = "further" if row["further"] else "ours" if row["ours"] else ""
    best = not row["further"] and row["geometric_mean"] == least[row["calls"]]
    mean = number(row["geometric_mean"])
    cells = [
        (f"<strong>{mean}</strong>" if best else mean, row["geometric_mean"]),
        (number(row["rms"]), row["rms"]),
        (number(row["worst_tenth"]), row["worst_tenth"]),
        _ratio(row["ratio"]),
        (number(row["seconds_per_picture"]), row["seconds_per_picture"]),
    ]
    steps = str(row["calls"]) if row["made"] == row["calls"] else f"{row['calls']} ({row['made']} calls)"
    numbers = "".join(f'<td data-value="{plain(value)}">{text}</td>' for text, value in cells)
    name = _text(row["scheduler"]) + (" <em>further run</em>" if row["further"] else "")
    return f'<tr class="{kind}"><th scope="row">{name}</th><td data-value="{row["calls"]}">{steps}</td>{numbers}</tr>'


def _ratio(ratio: Mapping[str, Any] | None) -> tuple[str, float]:
    if ratio is None:
        return "", 1.0
    if ratio["low"] is None:
        return number(ratio["value"]), ratio["value"]
    bars = f" <small>{number(ratio['low'])} – {number(ratio['high'])}</small>"
    return number(ratio["value"]) + bars, ratio["value"]


def _styles(document: Document) -> dict[str, str]:
    """Class of each scheduler's colour."""
    styles, rivals, ours = {}, 0, 0
    for one in document["contenders"]:
        if one["ours"]:
            styles[one["scheduler"]] = f"ours{ours}"
            ours += 1
        else:
            styles[one["scheduler"]] = f"rival{rivals % COLOURS}"
            rivals += 1
    return styles


def _curves(document: Document) -> str:
    styles, curves = _styles(document), []
    for name, style in styles.items():
        rows = sorted((row for row in document["rows"] if row["scheduler"] == name), key=lambda row: row["calls"])
        small = frozenset(i for i, row in enumerate(rows) if row["further"])
        curves.append(Curve(name, tuple((row["calls"], row["geometric_mean"]) for row in rows), style, small))
    legend = "".join(f'<li class="{one.style}"><i></i>{_text(one.name)}</li>' for one in curves)
    return f"<ul class='legend'>{legend}</ul>{error_curves(curves, 'Distance by network calls')}"


def _grids(document: Document) -> str:
    calls, styles = document["recommendation"]["calls"], _styles(document)
    rows = [row for row in document["rows"] if row["calls"] == calls and not row["further"] and row["timesteps"]]
    curves = [
        Curve(row["scheduler"], tuple((t, 0.0) for t in row["timesteps"]), styles[row["scheduler"]]) for row in rows
    ]
    if not curves:
        return ""
    return (
        f"<h2>Where they call the network</h2><p class='quiet'>In {calls} steps.</p>"
        f"<div class='scroll'>{grids_chart(curves, 'Times of the network calls')}</div>"
    )


def _normaliser(document: Document) -> str:
    known = document["statistics"]
    return (
        "<h2>What was measured of the model</h2><p class='quiet'>r(t), the mean magnitude of the network's output, by "
        "which DEIS-SN divides.</p>"
        f"{normaliser_curve(known['timesteps'], known['mean_abs'], 'r(t) over training time')}"
    )


# ---------------------------------------------------------------------------------------------------------- measured


def _measured(document: Document) -> str:
    reference, known = document["reference"], document["statistics"]
    prompts = document["num_prompts"]
    size = document["picture_size"]
    settings = "".join(f", {name} {value}" for name, value in document["arguments"].items())
    points = [
        f"{document['pipeline']} on {document['device']}{settings}, {prompts} prompt{'s' if prompts > 1 else ''}, "
        f"seeds from {document['seed']} on" + (f", pictures of {size[0]} × {size[1]} pixels." if size else "."),
        f"The distance of a picture is the RMS difference between its final sample, as the scheduler sees it (latents "
        f"of latent models), and that of the converged run: {reference['scheduler']} in {reference['steps']} steps, a "
        "sampler of Diffusers.",
        f"A run of {reference['check_steps']} steps ends {number(reference['check_distance'])} from it "
        f"({reference['check_prompts']} prompts), {percent(reference['share_of_least'])} of the least distance here"
        + ("." if reference["converged"] else ": it has not converged well, so small distances mean little."),
        "Columns are geometric means over the prompts; the worst tenth is an RMS. Ratios are paired, prompt by prompt, "
        "with the interval that holds 95 % by Student's distribution.",
        "Seconds are those of the denoising alone, of a batch divided by its pictures.",
        f"Statistics: {known['place']}"
        + (", measured for this comparison" if known["measured"] else "")
        + (f", {known['samples']} samples." if known["samples"] else "."),
        *_fitted(document),
        ", ".join(f"{name} {version}" for name, version in document["versions"].items()) + ".",
    ]
    items = "".join(f"<li>{_text(one)}</li>" for one in points)
    skipped = "".join(
        f"<li>{_text(one['scheduler'])} takes no part. {_text(one['reason'])}</li>" for one in document["skipped"]
    )
    notes = "".join(
        f"<li>{_text(one['scheduler'])}: {_text(one['note'])}</li>" for one in document["contenders"] if one["note"]
    )
    lines = "".join(
        f"<dt>{_text(one['scheduler'])}</dt><dd><pre>{chr(10).join(map(_text, one['code']))}</pre></dd>"
        for one in document["contenders"]
    )
    made = f"<details><summary>How each scheduler was made</summary><dl>{lines}</dl></details>"
    return f"<ul>{items}{notes}{skipped}</ul>{made}"


def _fitted(document: Document) -> list[str]:
    """How plans came about, where any took part."""
    followed = [one["calls"] for one in document["contenders"] if one["scheduler"] == WITH_PLANS]
    told = document["tuning"]
    if not followed and told is None:
        return []
    text = "No plan was better than runs without."
    if followed:
        numbers = ", ".join(str(one) for one in followed[0])
        text = f"{WITH_PLANS} follows plans, times and weights fitted to this model, for {numbers} steps."
    if told is None:
        return [f"{text} The statistics held them before."]
    looked = ", ".join(str(one) for one in told["steps"])
    prompts = "" if told["prompts"] is None else f" and {told['prompts']} other prompts"
    return [
        f"{text} Plans for {looked} steps were fitted for this comparison in {number(told['seconds'])} s, on "
        f"{told['num_samples']} samples of other noise{prompts}, and kept where they were better on "
        f"{told['num_held_out']} more (twice as many of both where these left no plan)."
    ]


def _is_equal(document: Document, row: Mapping[str, Any]) -> bool:
    """Whether a further row is that which comes as near as what is recommended."""
    equal = document["recommendation"]["equal"]
    return equal is not None and (row["scheduler"], row["calls"]) == (equal["scheduler"], equal["calls"])


def _text(text: Any) -> str:
    return html(text, None)
