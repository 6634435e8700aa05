"""A classifier that fits on a page: softmax regression over the mean and the spread of each colour."""

import json
import math

import png

STEPS, RATE, DECAY = 300, 0.5, 1e-3


def features(path):
    """Mean and standard deviation of red, green and blue, 0 to 1."""
    pixels = png.read(path).pixels
    found = []
    for channel in range(3):
        values = pixels[channel::3]
        mean = sum(values) / len(values)
        spread = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
        found += [mean / 255, spread / 255]
    return found


class Classifier:
    def __init__(self, types, mean, scale, weights):
        self.types, self.mean, self.scale, self.weights = types, mean, scale, weights

    @classmethod
    def untrained(cls, types, samples):
        columns = list(zip(*samples))
        mean = [sum(column) / len(column) for column in columns]
        scale = []
        for column, middle in zip(columns, mean):
            spread = math.sqrt(sum((value - middle) ** 2 for value in column) / len(column))
            scale.append(spread if spread > 1e-6 else 1.0)
        return cls(types, mean, scale, [[0.0] * (len(mean) + 1) for _ in types])

    @classmethod
    def load(cls, path):
        with open(path, encoding="utf-8") as file:
            return cls(**json.load(file))

    def save(self, path):
        with open(path, "w", encoding="utf-8") as file:
            json.dump(vars(self), file)

    def probabilities(self, sample):
        inputs = self._inputs(sample)
        scores = [sum(w * x for w, x in zip(row, inputs)) for row in self.weights]
        top = max(scores)
        powers = [math.exp(score - top) for score in scores]
        return [power / sum(powers) for power in powers]

    def predict(self, sample):
        """Class and certainty."""
        found = self.probabilities(sample)
        best = max(range(len(found)), key=found.__getitem__)
        return self.types[best], found[best]

    def fit(self, samples, labels, report=lambda done: None):
        """Gradient descent over all samples at once; says the share that is done."""
        inputs = [self._inputs(sample) for sample in samples]
        for step in range(STEPS):
            slopes = [[DECAY * w for w in row] for row in self.weights]
            for sample, row, label in zip(samples, inputs, labels):
                for at, found in enumerate(self.probabilities(sample)):
                    error = (found - (self.types[at] == label)) / len(samples)
                    for i, x in enumerate(row):
                        slopes[at][i] += error * x
            for row, slope in zip(self.weights, slopes):
                for i, it in enumerate(slope):
                    row[i] -= RATE * it
            if step % (STEPS // 4) == 0:
                report(step / STEPS)

    def loss_and_accuracy(self, samples, labels):
        loss, right = 0.0, 0
        for sample, label in zip(samples, labels):
            found = self.probabilities(sample)
            loss -= math.log(max(found[self.types.index(label)], 1e-12))
            right += self.predict(sample)[0] == label
        return loss / len(samples), right / len(samples)

    def _inputs(self, sample):
        return [(value - middle) / scale for value, middle, scale in zip(sample, self.mean, self.scale)] + [1.0]
