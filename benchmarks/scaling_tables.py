"""The texts and tables of docs/scaling.md that hold numbers of the model, made from scaling.json alone."""

from typing import Any

Row = dict[str, Any]
NOT_SHOWN = ("srresnet", "stackgan --stage 1")
"""Trainings that only the table of costs has: in all others they are as srgan, or less than stage 2."""
NOISY = "dcgan --instance-noise 0.1"
EPOCHS = ("dcgan", "stackgan --stage 2", "r3gan")
GPUS = (8, 64, 512)


def _table(heads: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [heads, ["---"] * len(heads), *rows])


def _number(value: float) -> str:
    """Two digits, or all before the point."""
    if value >= 10:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _find(rows: list[Row], gpus: int, *, weak: bool, synchronised: bool = True) -> Row | None:
    wanted = {"gpus": gpus, "weak": weak, "synchronised": synchronised}
    return next((row for row in rows if all(row[key] == value for key, value in wanted.items())), None)


def _both(values: list[str]) -> str:
    """One where both kinds of batch norm are alike."""
    return values[0] if values[0] == values[1] else " / ".join(values)


def assumptions(stored: Row) -> str:
    """The machine."""
    given = stored["assumptions"]
    giga = {name: f"{value / 1e9:,.0f}" for name, value in given.items()}
    tera = {name: f"{value / 1e12:.0f}" for name, value in given.items()}
    micro = {name: f"{value * 1e6:.0f}" for name, value in given.items()}
    lines = [
        f"a GPU: {tera['peak_bf16']} TFLOP/s in bf16 and {tera['peak_float32']} in TF32, the peaks of an "
        f"H100's data sheet, of which {given['peak_share']:.0%} are reached; memory of "
        f"{giga['memory_bytes_per_second']} GB/s;",
        f"Python: {micro['seconds_of_a_launch']} microseconds for each kernel, and "
        f"{micro['seconds_of_a_hooked_call']} for each call within the hook of several processes;",
        f"sums: {giga['nvlink_bytes_per_second']} GB/s within a machine of {given['gpus_of_a_machine']}, "
        f"{giga['network_bytes_per_second']} GB/s for each GPU between machines, "
        f"{micro['seconds_to_begin_a_sum']} microseconds to begin, and {micro['seconds_of_a_near_hop']} or "
        f"{micro['seconds_of_a_far_hop']} for each hop of a tree;",
        f"storage: {giga['storage_bytes_per_second_of_a_gpu']} GB/s for each GPU.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def steps(stored: Row) -> str:
    """What was counted."""
    lines = []
    for title, rows in stored["predictions"].items():
        if title in NOT_SHOWN:
            continue
        one, far = rows[0], _find(rows, 512, weak=True)
        eight = [_find(rows, 8, weak=True, synchronised=both) for both in (True, False)]
        assert far is not None
        assert eight[0] is not None
        lines.append(
            [
                f"`{title}`",
                f"{one['parameters'] / 1e6:.1f}",
                _number(one["flops"] / one["images"] / 1e9),
                f"{one['kernels']:,}",
                _both([f"{row['kernels']:,}" for row in eight if row]),
                _both([str(row["num_sums"]) for row in eight if row]),
                f"{eight[0]['bytes_summed'] / 1e6:.0f}",
                _number(far["numbers_drawn"] / 1e6),
                _number(far["largest_tensor_bytes"] / 1e9),
            ]
        )
    heads = ["training", "million weights", "GFLOP an image", "kernels", "kernels of several", "sums"]
    heads += ["MB summed", "million numbers drawn by each of 512", "largest tensor of 512, GB"]
    return _table(heads, lines)


def scaling(stored: Row) -> str:
    """Speeds relative to one GPU."""
    lines = []
    for title, rows in stored["predictions"].items():
        if title in (*NOT_SHOWN, NOISY):
            continue
        one = rows[0]
        alone = one["seconds"]["step"]
        cells = []
        for weak in (False, True):
            for gpus in GPUS:
                pair = [_find(rows, gpus, weak=weak, synchronised=both) for both in (True, False)]
                values = [
                    "-" if row is None else _number((gpus if weak else 1) * alone / row["seconds"]["step"])
                    for row in pair
                ]
                cells.append(_both(values))
        lines.append([f"`{title}`", str(one["batch"]), f"{one['images'] / alone:,.0f}", *cells])
    heads = ["training", "batch", "images/s of 1 GPU", *(f"same batch, {gpus}" for gpus in GPUS)]
    return _table([*heads, *(f"batch a GPU, {gpus}" for gpus in GPUS)], lines)


def check(stored: Row) -> str:
    """The model next to the measured speed of two processes on a CPU."""
    names = {"synchronised": "synchronised", "local": "`--batch-norm local`"}
    lines = [
        [
            names[name],
            str(row["num_sums"]),
            f"{row['predicted_half']:.2f}",
            f"{row['own_share']:.0%}",
            f"{row['predicted_own']:.2f}",
            f"{row['measured']:.2f}",
        ]
        for name, row in stored["check"]["rows"].items()
    ]
    heads = ["batch norm", "sums", "predicted, half of the time alone", "own part, measured"]
    return _table([*heads, "predicted with it", "measured"], lines)


def billion(stored: Row) -> str:
    """An epoch of 10^9 images."""
    lines = []
    for title in EPOCHS:
        rows = [row for row in stored["billion_images"]["rows"] if row["title"] == title]
        most = max(row["bytes_per_second_of_a_gpu"] for row in rows)
        last = rows[-1]
        total = last["images_per_second"] * last["bytes_of_an_image"] / 1e9
        hours = [_number(row["hours"]) for row in rows]
        lines.append(
            [f"`{title}`", *hours, f"{last['images_per_second']:,.0f}", _number(total), _number(most / 1e6)]
        )
    heads = ["training", "hours on 1 GPU", *(f"on {gpus}" for gpus in GPUS)]
    return _table([*heads, "images/s of 512", "GB/s of 512", "MB/s of a GPU, at most"], lines)


def waits(stored: Row) -> str:
    """What a sum takes within a step of two processes."""
    found = {name: f"{seconds * 1e3:.1f}" for name, seconds in stored["check"]["waits"].items()}
    return (
        f"A sum takes {found['back_to_back']} ms where one follows the other, but {found['synchronised']} ms "
        f"in a step with synchronised batch norm and {found['local']} without (load of the two cores: "
        f"{stored['check']['load_average']:.0f})."
    )


def memory(stored: Row) -> str:
    """What every process holds of 10^9 images."""
    found, given = stored["billion_images"], stored["assumptions"]
    index, order = found["index_bytes"] / 1e9, found["order_bytes"] / 1e9
    gpus = given["gpus_of_a_machine"]
    return (
        f"Of 10^9 images every process holds an index, {index:.0f} GB at "
        f"{given['index_bytes_of_an_image']} bytes for an image with a class, and the order of an epoch, "
        f"{order:.0f} GB: {gpus * (index + order):.0f} GB on a machine of {gpus} GPUs, "
        f"{gpus * (index + 2 * order):.0f} where two epochs meet."
    )


def gpu_costs(stored: Row) -> str:
    """Whole trainings on one GPU and on eight."""
    lines = []
    rows = stored["costs"]["gpu"]
    for one in rows:
        if one["gpus"] != 1 or one["title"] == NOISY:
            continue
        eight = next(row for row in rows if row["title"] == one["title"] and row["gpus"] == 8)
        size = f"{one['steps']:,} of {one['batch']}"
        prices = [f"{_number(row['hours'])} h, {row['price']:,.2f}" for row in (one, eight)]
        lines.append([f"`{one['title']}`", one["data"], size, *prices])
    return _table(["system", "data", "steps", "1 GPU: hours, USD", "8 GPUs: hours, USD"], lines)


def cpu_costs(stored: Row) -> str:
    """Recipes that were measured on a CPU."""
    parts = [
        f"`{row['recipe']}` {row['hours'] * 60:.0f} minutes, {row['price']:.3f} USD ({row['machine']})"
        for row in stored["costs"]["cpu"]
    ]
    return "; ".join(parts) + "."


def prices(stored: Row) -> str:
    """The rates."""
    given = stored["assumptions"]
    return (
        f"Assumed are {given['price_of_a_gpu_hour']:.2f} USD for an hour of an H100 and "
        f"{given['price_of_a_core_hour']:.2f} USD for an hour of a CPU core."
    )


PARTS = (assumptions, steps, scaling, check, waits, billion, memory, prices, gpu_costs, cpu_costs)
