"""A program that trains and predicts for `worker-gpu --exec "python3 colours.py"`, standard library only.

It learns the mean colour of each class and answers with the nearest one: little, and real. The protocol is in frame.py.
"""

import json
import math
import os
import random

import frame
import pixels

STEPS = 200


def main():
    job = frame.begin()
    if job["kind"] == "train":
        train(job)
    elif job["kind"] == "predict":
        predict(job)
    else:
        frame.fail(f"this program trains and predicts, it does no {job['kind']}", permanent=True)


def train(job):
    types = job["parameters"]["types"]
    if len(types) < 2:
        frame.fail("a training tells at least 2 classes apart", permanent=True)
    cells = [cell for cell in frame.cells(job) if cell["class"] in types]
    samples = measured(cells, share=60)
    learn, test = split(cells, job["parameters"]["seed"])
    state = begin_or_resume(job, types)
    for step in range(state["step"], STEPS):
        if frame.should_end():
            save(job, {**state, "step": step})
            return
        if frame.should_stop():
            if step == 0:
                frame.nothing_to_keep()
            break
        descend(state["weights"], [(samples[at], types.index(cells[at]["class"])) for at in learn])
        if step % 50 == 49:
            save(job, {**state, "step": step + 1})
        if step % 10 == 0:
            frame.progress(60 + 39 * step / STEPS, step=f"step {step} of {STEPS}")
    confusion = [[0] * len(types) for _ in types]
    for at in test:
        confusion[types.index(cells[at]["class"])][best(state["weights"], samples[at])[0]] += 1
    with open(os.path.join(job["outputs"], "model.json"), "w", encoding="utf-8") as file:
        json.dump({"types": types, "weights": state["weights"]}, file)
    result = {"types": types, "n_train": len(learn), "n_test": len(test), "test": confusion}
    result["notes"] = ["mean and spread of each colour, softmax regression"]
    with open(os.path.join(job["outputs"], "result.json"), "w", encoding="utf-8") as file:
        json.dump(result, file)


def predict(job):
    with open(job["model"], encoding="utf-8") as file:
        model = json.load(file)
    cells = frame.cells(job)
    samples = measured(cells, share=95)
    with open(os.path.join(job["outputs"], "answers.jsonl"), "w", encoding="utf-8") as file:
        for cell, sample in zip(cells, samples):
            at, certainty = best(model["weights"], sample)
            print(json.dumps({"at": cell["at"], "class": model["types"][at], "score": certainty}), file=file)


def measured(cells, share):
    """Mean and spread of each colour of every cell, about -1 to 1, and a 1 for the bias."""
    samples = []
    for n, cell in enumerate(cells, 1):
        width, height, rgb = pixels.read_png(cell["file"])
        sample = []
        for channel in range(3):
            values = rgb[channel::3]
            mean = sum(values) / len(values)
            spread = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
            sample += [mean / 128 - 1, spread / 64 - 1]
        samples.append(sample + [1.0])
        if n % 10 == 0:
            frame.progress(share * n / len(cells), step=f"cell {n} of {len(cells)}")
    return samples


def split(cells, seed):
    """80 % to learn from, 20 % to judge by: the same for the same seed."""
    order = sorted(range(len(cells)), key=lambda at: cells[at]["name"])
    random.Random(seed).shuffle(order)
    n_test = max(len(order) // 5, 1)
    return order[n_test:], order[:n_test]


def begin_or_resume(job, types):
    if "checkpoint" in job:
        with open(job["checkpoint"], encoding="utf-8") as file:
            state = json.load(file)
        frame.resumed()
        frame.log(f"goes on at step {state['step']}")
        return state
    return {"step": 0, "weights": [[0.0] * 7 for _ in types]}


def save(job, state):
    name = f"step-{state['step']}.json"
    with open(os.path.join(job["checkpoints"], name), "w", encoding="utf-8") as file:
        json.dump(state, file)
    # Said only when the file is whole.
    frame.checkpoint(name)


def probabilities(weights, sample):
    scores = [sum(w * x for w, x in zip(row, sample)) for row in weights]
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def best(weights, sample):
    found = probabilities(weights, sample)
    at = max(range(len(found)), key=found.__getitem__)
    return at, found[at]


def descend(weights, samples, rate=1.0):
    slopes = [[0.0] * len(row) for row in weights]
    for sample, truth in samples:
        for at, likely in enumerate(probabilities(weights, sample)):
            error = (likely - (at == truth)) / len(samples)
            for i, x in enumerate(sample):
                slopes[at][i] += error * x
    for row, slope in zip(weights, slopes):
        for i, it in enumerate(slope):
            row[i] -= rate * it


if __name__ == "__main__":
    main()
