"""A small task in the real prompt's format, to see that the pipeline learns: name the hottest inlet, copy its
value digit by digit, and hold or lower one setpoint by a rule.

    python -m isotherm_train.toy OUT.jsonl --count 4000 --seed 1
"""

import argparse
import json
import random
from pathlib import Path

HALLS = ["hall_a", "hall_b", "hall_c", "row_1", "row_2", "pod_7", "zone_n", "zone_s", "cage_4"]
TRENDS = ["steady", "rising", "falling"]


def example(dice: random.Random) -> dict[str, str]:
    inlets = [f"{h}_inlet" for h in dice.sample(HALLS, dice.randint(2, 4))]
    rows = {name: dice.randint(180, 290) / 10 for name in inlets}
    while len(set(rows.values())) < len(rows):
        rows = {name: dice.randint(180, 290) / 10 for name in inlets}
    trends = {name: dice.choice(TRENDS) for name in inlets}
    load, water = dice.randint(300, 2400), dice.randint(70, 150) / 10
    setpoint = dice.randint(12, 32) / 2
    table = "".join(f"{n} degC 18 to 27\n" for n in inlets) + "it_load kW\nchws degC\n"
    history = f"history {' '.join(inlets)} it_load\n"
    for minute in range(6):
        cells = " ".join(f"{v + dice.randint(-4, 4) / 10:.1f}" for v in rows.values())
        history += f"00:0{minute} {cells} {load + dice.randint(-30, 30)}\n"
    now = "".join(f"{n} {rows[n]:.1f} {trends[n]}\n" for n in inlets)
    prompt = (
        "<|im_start|>system\nControl cooling of site (air). Keep limits first, then save energy. Reply in JSON: "
        "assessment, evidence, setpoints, rationale. Say only what the numbers show.\nsignals: unit limits\n"
        f"{table}setpoints: unit range step colder\nchws_sp degC 6 to 16 0.5 down\n<|im_end|>\n<|im_start|>user\n"
        f"{history}now 00:05: trend, change in 10 min\n{now}it_load {load} steady\nchws {water:.1f} steady\n"
        f"ahead unknown\nset chws_sp {setpoint:g}\n<|im_end|>\n<|im_start|>assistant\n"
    )
    hottest = max(inlets, key=rows.__getitem__)
    lower = rows[hottest] > 26 and setpoint > 6
    chosen = setpoint - 0.5 if lower else setpoint
    why = "lower chws_sp: above 26" if lower else "hold chws_sp"
    answer = {
        "assessment": f"hottest is {hottest} at {rows[hottest]:g}, {trends[hottest]}",
        "evidence": [{"signal": hottest, "value": float(f"{rows[hottest]:g}"), "trend": trends[hottest]}],
        "setpoints": {"chws_sp": chosen},
        "rationale": why,
    }
    text = json.dumps(answer, separators=(",", ":")).replace(".0,", ",").replace(".0}", "}")
    return {"prompt": prompt, "answer": text}


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes examples of a small task.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    dice = random.Random(args.seed)
    lines = (json.dumps(example(dice)) for _ in range(args.count))
    args.out.write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
