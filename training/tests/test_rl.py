"""Offline reinforcement learning on a log made here: cd training && ../.cache/train-venv/bin/python -m unittest"""

import csv
import json
import tempfile
import unittest
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import torch

from isotherm_train.rl import export, learn, log

SITE = """
plant = "air"
[[signal]]
name = "inlet"
unit = "degC"
[[setpoint]]
name = "supply"
unit = "degC"
min = 10
max = 20
cools = "down"
"""
ROWS = 40


def write_log(path: Path) -> None:
    """Colder costs power: behaviours hold and lower the supply, under a load that only time decides."""
    names = ["inlet", "supply", "action_supply", "next_inlet"]
    outcome = ["cooling_kw", "facility_kw", "over_degh", "throttled_gpu_h"]
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["scenario", "behaviour", "seed", "time", *names, *outcome])
        for behaviour, step in (("held", 0.0), ("colder", -0.1), ("warmer", 0.1)):
            supply = 15.0
            for i in range(ROWS):
                now = datetime(2025, 7, 15, tzinfo=timezone.utc) + timedelta(minutes=5 * i)
                load, cooling = 100 + 50 * np.sin(i), 20 - supply
                inlet = "" if i == 5 else supply + 3
                brought = [cooling, load + cooling, 0, 0]
                rows.writerow(["s", behaviour, 1, now.isoformat(), inlet, supply, supply + step, supply + step + 3, *brought])
                supply += step


class Offline(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.site_file, self.log = self.folder / "site.toml", self.folder / "log.csv"
        self.site_file.write_text(SITE)
        write_log(self.log)
        self.site = log.Site.read(self.site_file)

    def test_states_have_trends_and_a_missing_value_stays(self):
        minutes = np.array([0.0, 5.0, 10.0, 60.0])
        seen = log.features(np.array([[np.nan], [15.0], [np.nan], [12.0]]), minutes, np.array([9.0]))
        expected = [[9, 0, 0], [15, 6, 5], [15, 0, 25 / 6], [12, 0, 0]]
        np.testing.assert_allclose(seen, expected)

    def test_rewards_know_what_was_done_and_not_what_came(self):
        seen, _ = log.transitions(self.log, self.site, log.Weights())
        self.assertEqual(len(seen.states), 3 * (ROWS - log.WINDOW))
        held, colder, warmer = np.split(seen.rewards, 3)
        np.testing.assert_allclose(held, 0, atol=1e-9)
        self.assertTrue((colder[1:] < 0).all() and (warmer[1:] > 0).all())
        np.testing.assert_allclose(seen.actions[ROWS], [0.03])
        np.testing.assert_allclose(seen.actions[-1], [-0.03])

    def test_it_learns_which_way_saves_and_goes_on_batch_for_batch(self):
        seen, _ = log.transitions(self.log, self.site, log.Weights())
        scaling = learn.Scaling(seen)
        states, nexts = scaling.states(seen.states), scaling.states(seen.nexts)
        batch = states, scaling.actions(seen.actions), learn.scaled(seen.rewards), nexts
        one = learn.Learner(states.shape[1], 1, seed=1, alpha=10, steps=300)
        for _ in range(200):
            one.update(*batch)
        one.save(self.folder / "checkpoint.pt")
        two = learn.Learner(states.shape[1], 1, seed=2, alpha=10, steps=300)
        two.load(self.folder / "checkpoint.pt")
        for _ in range(100):
            one.update(*batch)
            two.update(*batch)
        with torch.no_grad():
            wishes = one.slow_actor(states)
            torch.testing.assert_close(wishes, two.slow_actor(states), rtol=0, atol=0)
        self.assertLess(wishes.mean().item(), -0.3)

    def test_the_file_says_what_the_network_says(self):
        seen, usual = log.transitions(self.log, self.site, log.Weights())
        scaling = learn.Scaling(seen)
        network = learn.actor(6, 1)
        parts = {"mean": scaling.mean, "sd": scaling.sd, "reach": scaling.reach, "usual": usual}
        kept = {name: torch.tensor(part) for name, part in parts.items()}
        torch.save(kept | {"actor": network.state_dict(), "settings": {"seed": 1}}, self.folder / "policy.pt")
        made = json.loads(json.dumps(export.policy(self.folder, self.site_file)))
        said = export.recorded(made, self.site, self.log)
        with torch.no_grad():
            expected = network(scaling.states(seen.states[: export.ROWS]))
        # The row with the gap is another one there.
        np.testing.assert_allclose(said["outputs"][:3], expected[:3], atol=1e-3)


if __name__ == "__main__":
    unittest.main()
