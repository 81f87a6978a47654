"""The boundary in plain PyTorch, formula by formula: what the operators are tested against and timed beside.

Shapes as in operators.py: x [tokens, n, C], y [tokens, C].  Of the mappings it has sinkhorn and identity.
"""
import torch


def sinkhorn(logits, iterations):
    """[..., n, n] to a matrix of row sums 1, and of column sums nearly 1: columns first, then rows."""
    matrix = torch.exp(logits - logits.amax(dim=(-2, -1), keepdim=True))
    for _ in range(iterations):
        matrix = matrix / matrix.sum(dim=-2, keepdim=True)
        matrix = matrix / matrix.sum(dim=-1, keepdim=True)
    return matrix


def coefficients(x, projection, alpha, bias, mapping="sinkhorn", iterations=20, eps=1e-6):
    """H_pre [tokens, n], H_post [tokens, n] and H_res [tokens, n, n] of mhc."""
    tokens, n, channels = x.shape
    v = x.to(bias.dtype).reshape(tokens, n * channels)
    products = v @ projection * torch.rsqrt(v.square().mean(dim=-1, keepdim=True) + eps)
    gates = torch.repeat_interleave(alpha, torch.tensor([n, n, products.shape[1] - 2 * n], device=x.device),
                                    output_size=products.shape[1])
    logits = gates * products + bias
    pre, post = torch.sigmoid(logits[:, :n]), 2.0 * torch.sigmoid(logits[:, n:2 * n])
    if mapping == "identity":
        return pre, post, torch.eye(n, dtype=pre.dtype, device=x.device).expand(tokens, n, n)
    return pre, post, sinkhorn(logits[:, 2 * n:].view(tokens, n, n), iterations)


def hc_coefficients(x, theta, alpha, bias, eps=1e-6):
    """The same of hyper-connections: dynamic by tanh, each stream normed."""
    tokens, n, _ = x.shape
    x = x.to(bias.dtype)
    normed = x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps)
    dynamic = torch.tanh(normed @ theta.T)  # [tokens, stream, 2 + n]
    pre, post = alpha[0] * dynamic[:, :, 0] + bias[:n], alpha[1] * dynamic[:, :, 1] + bias[n:2 * n]
    return pre, post, alpha[2] * dynamic[:, :, 2:].transpose(1, 2) + bias[2 * n:].view(n, n)


def merge(x, y, post, mix):
    """X_{l+1} = H_res X + H_post^T y."""
    return (mix @ x.to(mix.dtype) + post.unsqueeze(-1) * y.to(mix.dtype).unsqueeze(1)).to(x.dtype)


def read(x, pre):
    """u = H_pre X, not rounded."""
    return (pre.unsqueeze(1) @ x.to(pre.dtype)).squeeze(1)


def norm(u, gamma, dtype, eps=1e-6):
    return (gamma * u * torch.rsqrt(u.square().mean(dim=-1, keepdim=True) + eps)).to(dtype)
