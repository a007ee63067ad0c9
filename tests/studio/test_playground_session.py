"""Sessions of the playground: exact, in step, apart, bounded; the same trainings as `ganforge train`."""

import base64
import json
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import ganforge
from ganforge.cli.main import main
from ganforge.errors import UserError
from ganforge.server.guard import Refused
from ganforge.studio.playground import session as session_module
from ganforge.studio.playground.api import MOST_SESSIONS, Sessions
from ganforge.studio.playground.losses import LOSSES
from ganforge.studio.playground.save import save_run
from ganforge.studio.playground.session import Session
from ganforge.studio.playground.settings import Settings

SMALL = {"generator_hidden": [8], "discriminator_hidden": [8], "batch": 16}
DABS = base64.urlsafe_b64encode(bytes(range(60, 90)) * 3).decode()
EVERY_LOSS = [{"loss": loss} for loss in LOSSES]


@contextmanager
def opened(**settings: Any) -> Iterator[Session]:
    session = Session(Settings.model_validate({"shared": SMALL, **settings}))
    try:
        yield session
    finally:
        session.close()
        session.join(10)


def weights(session: Session, panel: int = 0) -> dict[str, torch.Tensor]:
    return {name: part.clone() for name, part in session.panels[panel].system.state_dict().items()}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """The networks that have changed."""
    return {name.split(".")[0] for name, part in before.items() if not torch.equal(part, after[name])}


def watch(session: Session, until: int, seconds: float = 60) -> list[dict[str, Any]]:
    """Every frame up to the step `until`, as a viewer takes them."""
    ready, frames = threading.Event(), []
    wake = ready.set
    session.attach(wake)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        text = session.take(wake)
        if text is None:
            ready.wait(0.5)
            ready.clear()
            continue
        frames.append(json.loads(text))
        if frames[-1]["step"] >= until and not frames[-1]["playing"]:
            break
    session.detach(wake)
    assert frames[-1]["step"] == until
    return frames


def test_every_loss_trains_in_step() -> None:
    assert {loss.system for loss in LOSSES.values()} >= {"gan", "wgan", "wgan_gp", "sngan", "lsgan", "r3gan"}
    for first in (0, 4):
        panels = EVERY_LOSS[first : first + 4]
        with opened(panels=panels) as session:
            before = [weights(session, index) for index in range(len(panels))]
            session.advance(count=3)
            frame = watch(session, 3)[-1]
            for index, panel in enumerate(session.panels):
                networks = {"encoder", "decoder"} if panel.loss == "vae" else {"generator"}
                assert changed(before[index], weights(session, index)) >= networks, panel.loss
                assert panel.step == 3
                shown = frame["panels"][index]
                assert shown["losses"], panel.loss
                assert 0 <= shown["js"] <= 0.6932
                assert len(base64.b64decode(shown["heat"])) == 2500
                assert (shown["arrows"] is None) == (panel.loss == "vae")


def test_a_step_of_one_network_changes_only_that_one() -> None:
    panels = [{"loss": loss} for loss in LOSSES if loss != "vae"][:6]
    with opened(panels=panels) as session:
        session.advance()
        for only, role in (("generator", {"generator"}), ("discriminator", {"discriminator", "critic"})):
            before = [weights(session, index) for index in range(len(panels))]
            session.advance(only, 2)
            for index, panel in enumerate(session.panels):
                networks = changed(before[index], weights(session, index)) - {"augment"}
                spectral = {"discriminator"} if panel.loss == "hinge" else set()
                assert networks - spectral <= role, (panel.loss, only)
                assert networks & role, (panel.loss, only)


def test_spectral_norms_change_no_weight_where_only_g_steps() -> None:
    with opened(panels=[{"loss": "hinge"}]) as session:
        before = [part.clone() for part in session.panels[0].system.discriminator.parameters()]
        session.advance("generator", 2)
        assert all(map(torch.equal, before, session.panels[0].system.discriminator.parameters()))


def test_a_link_reproduces_the_state_with_all_that_was_done_by_hand() -> None:
    panels = [{"loss": "non_saturating", "fields": {"pack": 2}}, {"loss": "r3gan"}, {"loss": "wgan"}]
    with opened(panels=panels, seed=5, data="grid") as session:
        session.advance(count=4)
        session.advance("discriminator", 3)
        session.set_fields(0, {"learning_rate": 5e-3})
        session.advance(count=2)
        session.set_fields(1, {"gamma": 1.0})
        session.advance("generator")
        session.advance(count=60)
        link = session.state()
    assert len(json.dumps(link)) < 800
    again = Session(Settings.model_validate(link["settings"]))
    try:
        again.play(until=link["step"])
        watch(again, link["step"])
        assert again.state() == link
    finally:
        again.close()


def test_frames_and_other_sessions_leave_a_training_as_it_is() -> None:
    with opened(seed=1) as plain:
        plain.advance(count=40)
        expected = plain.state()["fingerprint"]
    with opened(seed=1) as watched, opened(seed=2, panels=EVERY_LOSS[:2]) as other:
        other.play(until=30)
        thread = threading.Thread(target=watch, args=(other, 30), daemon=True)
        thread.start()
        watched.play(until=40)
        watch(watched, 40)
        assert watched.state()["fingerprint"] == expected
        thread.join(60)


@pytest.mark.parametrize("loss", ["lsgan", "hinge"])
def test_it_is_the_training_of_the_command(tmp_path: Path, loss: str) -> None:
    shared = SMALL | {"generator_hidden": []}
    with opened(seed=3, panels=[{"loss": loss}], steps=12, shared=shared) as session:
        session.advance(count=12)
        command = shlex.split(session.describe()["panels"][0]["command"])
        own = weights(session)
    assert command.pop(0) == "ganforge"
    assert main([*command, "--run", str(tmp_path / "run")]) in (None, 0)
    trained = ganforge.load(tmp_path / "run")
    for name, part in trained.system.state_dict().items():
        assert torch.equal(part, own[name]), name


@pytest.mark.parametrize("loss", ["non_saturating", "hinge"])
def test_a_saved_panel_is_a_run_that_resumes_exactly(tmp_path: Path, loss: str) -> None:
    with opened(drawn=DABS, panels=[{"loss": loss}], steps=80) as session:
        session.advance(count=60)
        run = save_run(session, 0, tmp_path / "mine", "#/play?s=x")
        session.advance(count=20)
        expected = weights(session)
    assert (run.path / "drawn.csv").is_file()
    trained = ganforge.load(run.path)
    assert trained.sample(5, seed=1).shape == (5, 2, 1, 1)
    resumed = ganforge.resume(run.path, quiet=True)
    for name, part in resumed.system.state_dict().items():
        assert torch.equal(part, expected[name]), name
    assert [line["step"] for line in run.metrics("train")] == [50, 80]
    with opened(drawn=DABS) as session:
        with pytest.raises(UserError, match="play first"):
            save_run(session, 0, tmp_path / "empty", "")
        session.advance()
        with pytest.raises(UserError, match="already"):
            save_run(session, 0, tmp_path / "mine", "")
    assert not (tmp_path / "empty").exists()


def test_rates_change_at_once_and_networks_do_not() -> None:
    with opened(panels=[{"loss": "wgan"}, {"loss": "r3gan"}, {"loss": "non_saturating"}]) as session:
        session.advance(count=2)
        session.set_fields(0, {"clip": 0.001, "learning_rate": 0.01})
        session.set_fields(1, {"learning_rate": 0.02})
        session.set_fields(2, {"learning_rate": 0.03, "momentum": 0.9})
        session.advance()
        wgan, r3gan, gan = session.panels
        assert max(part.abs().max() for part in wgan.discriminator.parameters()) <= 0.001
        assert wgan.training.optimizers["generator"].param_groups[0]["lr"] == 0.01
        assert r3gan.training.optimizers["generator"].param_groups[0]["lr"] == pytest.approx(0.02, rel=1e-3)
        group = gan.training.optimizers["generator"].param_groups[0]
        assert group["lr"] == 0.03
        assert group["betas"][0] == 0.9
        for panel, fields in ((0, {"critic_steps": 2}), (0, {"gamma": 1.0}), (0, {"clip": -1.0}), (9, {})):
            with pytest.raises(UserError):
                session.set_fields(panel, fields)


@pytest.mark.parametrize(
    "settings",
    [
        {"data": "mnist"},
        {"drawn": "a"},
        {"drawn": "####"},
        {"panels": [{"loss": "wgan", "fields": {"width": 5}}]},
        {"panels": [{"loss": "wgan", "fields": {"critic_steps": 1000}}]},
        {"panels": [{"loss": "non_saturating", "fields": {"pack": 3}}]},
    ],
)
def test_bad_settings_get_one_line(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError) as error, opened(**settings):
        pass
    assert "\n" not in str(error.value)


def test_a_diverged_panel_stops_and_the_others_go_on() -> None:
    with opened(panels=[{"loss": "non_saturating"}, {"loss": "lsgan"}]) as session:
        with torch.no_grad():
            session.panels[0].system.generator.layers[0].weight.fill_(torch.nan)
        session.advance(count=60)
        first, second = watch(session, 60)[-1]["panels"]
        assert "smaller learning rate" in first["stopped"]
        assert not second["stopped"]
        assert second["step"] == 60
        with pytest.raises(UserError, match="diverged"):
            save_run(session, 0, Path("nowhere"), "")


def test_nothing_is_trained_while_nobody_watches_and_silent_sessions_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_module, "SILENT_SECONDS", 0.5)
    with opened() as session:
        session.play()
        time.sleep(0.3)
        assert session.step == 0
        session.join(10)
        assert session.closed


def test_the_number_of_sessions_is_bounded() -> None:
    sessions = Sessions()
    try:
        opened_ones = [sessions.open(Settings(shared=SMALL)) for _ in range(MOST_SESSIONS)]
        for _, session in opened_ones:
            session.attach(lambda: None)
        with pytest.raises(Refused, match="close one"):
            sessions.open(Settings(shared=SMALL))
        opened_ones[1][1].detach(opened_ones[1][1]._wake)
        sessions.open(Settings(shared=SMALL))
        assert opened_ones[1][1].closed
        with pytest.raises(Refused, match="reload"):
            sessions.get(opened_ones[1][0])
    finally:
        sessions.close_all()
