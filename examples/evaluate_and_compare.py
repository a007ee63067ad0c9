"""Train two systems on the same data with the same budget and compare their scores.

python examples/evaluate_and_compare.py --data mnist --steps 2000

On the command line, `ganforge compare runs/gan-mnist runs/dcgan-mnist` does the last part for evaluated runs.
"""

import argparse
import sys

import ganforge

SYSTEMS = ("gan", "dcgan")


def main() -> int:
    """Train, evaluate and print a table of the scores that all runs have."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--samples", type=int, default=2_000, help="samples per evaluation")
    options = parser.parse_args()

    scores = {}
    for system in SYSTEMS:
        trained = ganforge.train(system, options.data, steps=options.steps, batch=32)
        evaluated = ganforge.evaluate(trained.run.path, num_samples=options.samples)
        scores[system] = {score.name: score for score in evaluated}

    first, second = (scores[system] for system in SYSTEMS)
    print(f"{'score':32}{SYSTEMS[0]:>12}{SYSTEMS[1]:>12}")
    for name, score in first.items():
        # Two scores can be compared only where they were measured in the same way.
        if name in second and score.protocol == second[name].protocol:
            print(f"{name:32}{score.value:12.4g}{second[name].value:12.4g} {score.unit}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
