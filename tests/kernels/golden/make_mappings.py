"""Golden values of the mappings: python3 make_mappings.py, once; mappings.txt is kept.

In 50 digits and from the formulas alone: H_res of random logits, and the gradient of sum(weights * H_res) by central
differences, whose error at 50 digits is far below the rounding of what is written.  Standard library only.
"""
import itertools
import pathlib
import random
from decimal import Decimal, getcontext

getcontext().prec = 50
STEP = Decimal(10) ** -16
EPS = Decimal("1e-6")
ITERATIONS = 20


def sigmoid(x):
    return 1 / (1 + (-x).exp())


def transpose(matrix):
    return [list(row) for row in zip(*matrix)]


def divide_rows(matrix, eps=Decimal(0)):
    return [[entry / (sum(row) + eps) for entry in row] for row in matrix]


def divide_columns(matrix, eps=Decimal(0)):
    return transpose(divide_rows(transpose(matrix), eps))


def square(logits, n):
    return [logits[i * n:(i + 1) * n] for i in range(n)]


def identity(_, n):
    return [[Decimal(int(i == j)) for j in range(n)] for i in range(n)]


def sinkhorn(logits, n):
    matrix = [[x.exp() for x in row] for row in square(logits, n)]
    for _ in range(ITERATIONS):
        matrix = divide_rows(divide_columns(matrix))
    return matrix


def deepseek(logits, n):  # as TileKernels has it, on the transpose
    comb = transpose([[x.exp() for x in row] for row in square(logits, n)])
    comb = [[entry + EPS for entry in row] for row in divide_rows(comb)]
    comb = divide_columns(comb, EPS)
    for _ in range(ITERATIONS - 1):
        comb = divide_columns(divide_rows(comb, EPS), EPS)
    return transpose(comb)


def permutations(logits, n):
    weights = [x.exp() for x in logits]
    matrix = [[Decimal(0)] * n for _ in range(n)]
    for weight, order in zip(weights, itertools.permutations(range(n))):
        for i, j in enumerate(order):
            matrix[i][j] += weight / sum(weights)
    return matrix


def retention(logits, n):
    return [[Decimal("0.9") + Decimal("0.1") * sigmoid(logits[i]) if i == j else Decimal(0) for j in range(n)]
            for i in range(n)]


# Function, and how many logits it takes.
MAPPINGS = {
    "sinkhorn": (sinkhorn, lambda n: n * n),
    "permutations": (permutations, lambda n: len(list(itertools.permutations(range(n))))),
    "identity": (identity, lambda n: 0),
    "unconstrained": (square, lambda n: n * n),
    "deepseek": (deepseek, lambda n: n * n),
    "retention": (retention, lambda n: n),
    "gated": (identity, lambda n: 0),
    "static": (sinkhorn, lambda n: n * n),
}


def gradient(function, logits, weights, n):
    def value(at):
        return sum(w * h for w, h in zip(weights, itertools.chain(*function(at, n))))

    found = []
    for k in range(len(logits)):
        there, back = list(logits), list(logits)
        there[k] += STEP
        back[k] -= STEP
        found.append((value(there) - value(back)) / (2 * STEP))
    return found


def main():
    rng = random.Random(12)

    def draw(count, scale):  # exact in binary: multiples of 2^-20
        return [Decimal(round(rng.gauss(0, scale) * 2**20)) / 2**20 for _ in range(count)]

    lines = []
    for name, (function, count) in MAPPINGS.items():
        for n in 3, 4:
            logits, weights = draw(count(n), 2), draw(n * n, 1)
            matrix = list(itertools.chain(*function(logits, n)))
            lines.append(f"mapping {name} {n} {ITERATIONS}")
            for key, values in (("logits", logits), ("weights", weights), ("matrix", matrix),
                                ("gradient", gradient(function, logits, weights, n))):
                lines.append(" ".join([key, *(repr(float(x)) for x in values)]))
    pathlib.Path(__file__).with_name("mappings.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
