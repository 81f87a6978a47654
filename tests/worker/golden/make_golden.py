"""Writes the golden files of golden_test: python3 make_golden.py [folder]   (needs PyTorch)

The model is written from the mathematics (docs/architecture.md) in plain PyTorch, and its
gradients come from autograd in float64; nothing here is shared with the C++ code.  A file holds a
small model, its weights, one batch, the loss and all gradients:

  line by line   "key value ..." of the model and the batch, then "tensor NAME COUNT" for each
                 parameter in order, then an empty line
  then           float32, little endian: all weights in that order, then all gradients
"""
import itertools
import math
import pathlib
import sys

import torch

torch.set_default_dtype(torch.float64)

MODEL = dict(vocab_size=11, hidden_size=8, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, intermediate_size=10, rms_norm_eps=1e-6, rope_theta=100.0,
             norm_eps=1e-6, sinkhorn_iterations=20, streams=4, tie_embeddings=0, expand="copy")
LENGTHS = [5, 3]
DEEPSEEK_EPS = 1e-6


def rms_norm(x, weight, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def rope(x, theta):  # x [time, heads, D]: pairs (i, i + D/2)
    time, _, dim = x.shape
    frequency = theta ** (-torch.arange(0, dim, 2) / dim)
    angle = torch.arange(time)[:, None] * frequency[None, :]
    cos, sin = torch.cos(angle)[:, None, :], torch.sin(angle)[:, None, :]
    a, b = x[..., : dim // 2], x[..., dim // 2:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def attention(model, weights, prefix, x):  # x [time, C], one sequence
    heads, kv_heads = model["num_attention_heads"], model["num_key_value_heads"]
    dim = model["hidden_size"] // heads
    qkv = (x @ weights[prefix + "attention.qkv.weight"].T).view(-1, heads + 2 * kv_heads, dim)
    q, k, v = qkv.split([heads, kv_heads, kv_heads], 1)
    q, k = rope(q, model["rope_theta"]), rope(k, model["rope_theta"])
    k = k.repeat_interleave(heads // kv_heads, 1)
    v = v.repeat_interleave(heads // kv_heads, 1)
    scores = torch.einsum("ihd,jhd->hij", q, k) / math.sqrt(dim)
    scores = scores + torch.full(scores.shape[1:], -math.inf).triu(1)
    out = torch.einsum("hij,jhd->ihd", scores.softmax(-1), v)
    return out.reshape(-1, heads * dim) @ weights[prefix + "attention.out.weight"].T


def feed_forward(weights, prefix, x):
    gate, up = (x @ weights[prefix + "ffn.gate_up.weight"].T).chunk(2, -1)
    return (torch.nn.functional.silu(gate) * up) @ weights[prefix + "ffn.down.weight"].T


def sinkhorn(logits, iterations):  # [time, n, n]; columns first, rows last
    matrix = torch.exp(logits - logits.amax((-2, -1), keepdim=True))
    for _ in range(iterations):
        matrix = matrix / matrix.sum(-2, keepdim=True)
        matrix = matrix / matrix.sum(-1, keepdim=True)
    return matrix


def permutation_mixture(logits, n):  # [time, n!]
    matrices = torch.stack([torch.eye(n)[list(p)] for p in itertools.permutations(range(n))])
    return torch.einsum("tk,kij->tij", logits.softmax(-1), matrices)


def deepseek(logits, iterations):  # [time, n, n], as TileKernels has it, on the transpose
    comb = logits.transpose(-1, -2).softmax(-1) + DEEPSEEK_EPS
    comb = comb / (comb.sum(-2, keepdim=True) + DEEPSEEK_EPS)
    for _ in range(iterations - 1):
        comb = comb / (comb.sum(-1, keepdim=True) + DEEPSEEK_EPS)
        comb = comb / (comb.sum(-2, keepdim=True) + DEEPSEEK_EPS)
    return comb.transpose(-1, -2)


def mapping_of(model, logits, n):  # [time, K] -> H_res [time, n, n]
    square = logits.view(len(logits), n, n) if logits.shape[1] == n * n else None
    if model["mapping"] == "permutations":
        return permutation_mixture(logits, n)
    if model["mapping"] in ("identity", "gated"):
        return torch.eye(n).expand(len(logits), n, n)
    if model["mapping"] == "unconstrained":
        return square
    if model["mapping"] == "deepseek":
        return deepseek(square, model["sinkhorn_iterations"])
    if model["mapping"] == "retention":
        return torch.diag_embed(0.9 + 0.1 * torch.sigmoid(logits))
    return sinkhorn(square, model["sinkhorn_iterations"])


def columns_of(model):  # arguments of the coefficients, and how many of them depend on the token
    n = model["streams"]
    logits = {"permutations": math.factorial(n), "identity": 0, "gated": 0, "retention": n}.get(
        model["mapping"], n * n)
    dynamic = {"gated": n, "retention": 2 * n, "static": 0}.get(model["mapping"], 2 * n + logits)
    return 2 * n + logits, dynamic


def mhc(model, weights, prefix, x):  # x [time, n, C] -> H_pre [time, n], H_post, H_res [time, n, n]
    time, n, _ = x.shape
    v = x.reshape(time, -1)
    r = torch.sqrt((v * v).mean(-1, keepdim=True) + model["norm_eps"])
    columns, dynamic = columns_of(model)
    arguments = weights[prefix + "mhc.bias"].expand(time, columns)
    if dynamic > 0:
        products = v @ weights[prefix + "mhc.phi"] / r
        alpha = weights[prefix + "mhc.alpha"]
        gains = torch.cat([alpha[0].expand(n), alpha[1].expand(n), alpha[2].expand(columns - 2 * n)])
        own = torch.nn.functional.pad(products * gains[:dynamic], (0, columns - dynamic))
        arguments = arguments + own
    pre = torch.sigmoid(arguments[:, :n])
    if model["mapping"] == "deepseek":
        pre = pre + DEEPSEEK_EPS
    post = arguments[:, n:2 * n]
    if model["mapping"] != "gated":
        post = 2 * torch.sigmoid(post)
    return pre, post, mapping_of(model, arguments[:, 2 * n:], n)


def hc(model, weights, prefix, x):
    n = x.shape[1]
    xn = x / torch.sqrt((x * x).mean(-1, keepdim=True) + model["norm_eps"])
    theta, alpha, bias = (weights[prefix + "hc." + name] for name in ("theta", "alpha", "bias"))
    pre = alpha[0] * torch.tanh(xn @ theta[0]) + bias[:n]
    post = alpha[1] * torch.tanh(xn @ theta[1]) + bias[n:2 * n]
    mixing = alpha[2] * torch.tanh(torch.einsum("ic,tjc->tij", theta[2:], xn))
    return pre, post, mixing + bias[2 * n:].view(n, n)


def sequence_loss(model, weights, inputs, targets):
    n = 1 if model["kind"] == "residual" else model["streams"]
    embedded = weights["embedding.weight"][inputs]
    x = embedded[:, None, :].repeat(1, n, 1)
    if model["expand"] == "one-hot":
        x = torch.cat([embedded[:, None, :], torch.zeros(len(inputs), n - 1, x.shape[2])], 1)
    for sublayer in range(2 * model["num_hidden_layers"]):
        prefix = f"sublayers.{sublayer}."
        if model["kind"] == "residual":
            u = x[:, 0]
        else:
            pre, post, res = (hc if model["kind"] == "hc" else mhc)(model, weights, prefix, x)
            u = torch.einsum("tj,tjc->tc", pre, x)
        normed = rms_norm(u, weights[prefix + "norm.weight"], model["rms_norm_eps"])
        if sublayer % 2 == 0:
            y = attention(model, weights, prefix, normed)
        else:
            y = feed_forward(weights, prefix, normed)
        if model["kind"] == "residual":
            x = x + y[:, None, :]
        else:
            x = torch.einsum("tij,tjc->tic", res, x) + post[:, :, None] * y[:, None, :]
    h = rms_norm(x.mean(1), weights["final_norm.weight"], model["rms_norm_eps"])
    head = weights["embedding.weight" if model["tie_embeddings"] else "head.weight"]
    return torch.nn.functional.cross_entropy(h @ head.T, targets, ignore_index=-1,
                                             reduction="sum")


def shapes(model):
    c, f, v, n = (model[k] for k in ("hidden_size", "intermediate_size", "vocab_size", "streams"))
    dim = c // model["num_attention_heads"]
    columns, dynamic = columns_of(model)
    yield "embedding.weight", (v, c)
    for sublayer in range(2 * model["num_hidden_layers"]):
        prefix = f"sublayers.{sublayer}."
        yield prefix + "norm.weight", (c,)
        if sublayer % 2 == 0:
            yield prefix + "attention.qkv.weight", (c + 2 * model["num_key_value_heads"] * dim, c)
            yield prefix + "attention.out.weight", (c, c)
        else:
            yield prefix + "ffn.gate_up.weight", (2 * f, c)
            yield prefix + "ffn.down.weight", (c, f)
        if model["kind"] == "mhc":
            if dynamic > 0:
                yield prefix + "mhc.phi", (n * c, dynamic)
                yield prefix + "mhc.alpha", (3,)
            yield prefix + "mhc.bias", (columns,)
        elif model["kind"] == "hc":
            yield prefix + "hc.theta", (2 + n, c)
            yield prefix + "hc.alpha", (3,)
            yield prefix + "hc.bias", (2 * n + n * n,)
    yield "final_norm.weight", (c,)
    if not model["tie_embeddings"]:
        yield "head.weight", (v, c)


def random_weight(name, shape, generator):
    normal = torch.randn(shape, generator=generator)
    if name.endswith("norm.weight"):
        value = 1 + 0.2 * normal
    elif name.endswith("alpha"):
        value = 1 + 0.1 * normal
    elif name.endswith("bias"):
        value = normal
    else:
        value = normal / math.sqrt(shape[0] if name.endswith("phi") else shape[1])
    return value.float().double().requires_grad_()  # what a float32 can hold


def write(path, model, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = {name: random_weight(name, shape, generator) for name, shape in shapes(model)}
    tokens = sum(LENGTHS)
    inputs = torch.randint(model["vocab_size"], (tokens,), generator=generator)
    targets = torch.randint(model["vocab_size"], (tokens,), generator=generator)
    targets[2] = -1
    losses = [sequence_loss(model, weights, i, t)
              for i, t in zip(inputs.split(LENGTHS), targets.split(LENGTHS))]
    loss = sum(losses) / (targets >= 0).sum()
    loss.backward()
    assert all(w.grad.abs().max() > 1e-6 for w in weights.values())
    lines = [f"{key} {value}" for key, value in model.items()]
    for key, values in ("lengths", LENGTHS), ("inputs", inputs.tolist()), ("targets",
                                                                          targets.tolist()):
        lines.append(" ".join([key, str(len(values)), *map(str, values)]))
    lines.append(f"loss {loss.item()!r}")
    lines += [f"tensor {name} {weight.numel()}" for name, weight in weights.items()]
    flat = [w.detach() for w in weights.values()] + [w.grad for w in weights.values()]
    data = torch.cat([t.reshape(-1) for t in flat]).float().numpy().astype("<f4").tobytes()
    path.write_bytes(("\n".join(lines) + "\n\n").encode() + data)


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    variants = {
        "residual": dict(kind="residual", mapping="sinkhorn"),
        "hc": dict(kind="hc", mapping="sinkhorn"),
        "mhc": dict(kind="mhc", mapping="sinkhorn"),
        "mhc_tied": dict(kind="mhc", mapping="sinkhorn", tie_embeddings=1, expand="one-hot",
                         num_hidden_layers=1),
        "mhc_permutations": dict(kind="mhc", mapping="permutations", streams=3),
        # The norm hides the scale of what the first sub-layer reads; rounding would be most of what is left.
        "mhc_identity": dict(kind="mhc", mapping="identity", streams=3, rms_norm_eps=0.1),
        "mhc_unconstrained": dict(kind="mhc", mapping="unconstrained", streams=3),
        # Of equal streams only the epsilons see a difference.
        "mhc_deepseek": dict(kind="mhc", mapping="deepseek", expand="one-hot"),
        "mhc_retention": dict(kind="mhc", mapping="retention", streams=3),
        "mhc_gated": dict(kind="mhc", mapping="gated", rms_norm_eps=0.1),
        "mhc_static": dict(kind="mhc", mapping="static", streams=3),
    }
    for seed, (name, changes) in enumerate(variants.items()):
        write(folder / f"{name}.golden", MODEL | changes, seed)


if __name__ == "__main__":
    main()
