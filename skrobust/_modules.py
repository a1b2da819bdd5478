"""A stack of a user's own modules: autograd instead of the hand-written pass."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ._batch import BLOCK
from ._dropout import fill_mask_
from ._ghost import row_gradient_norms

_GLOBAL_RNG = threading.Lock()


def build_modules(factory: Callable[[], nn.Module], n: int, seed: int) -> list[Any]:
    """Call ``factory`` n times on a seeded copy of the global generator.

    Modules draw their first weights from torch's global generator. Forking it keeps
    the user's own stream as it was; the lock is there because a fork is not
    thread-safe.
    """
    with _GLOBAL_RNG, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch's own would seed every GPU
        modules = [factory() for _ in range(n)]
    for module in modules:
        if not isinstance(module, nn.Module):
            raise TypeError(
                "The 'network' parameter must be a factory that returns a "
                f"torch.nn.Module. It returned {type(module).__name__} instead."
            )
    return modules


class _ModuleTape:
    __slots__ = ("graph", "output", "training", "x")

    def __init__(self, x: Tensor, graph: Tensor, training: bool):
        self.x, self.graph, self.training = x, graph, training
        self.output = graph.detach()

    def narrowed(self, take: Any) -> None:
        """Ask for another forward pass: a graph cannot be narrowed."""


class ModuleStack:
    """K modules from one factory, with the interface of ``Stack``.

    The modules' parameters become views of one flat vector. Where a gradient is not
    finite the batch is differentiated again without the rejected rows, since a weight
    of zero does not stop ``0 * inf``.
    """

    block = BLOCK

    def __init__(
        self, modules: list[nn.Module], *, dtype: torch.dtype, device: torch.device
    ):
        self.n_networks = len(modules)
        self._modules = [m.to(device=device, dtype=dtype).train() for m in modules]
        self.has_modes = not all(_single_mode(m) for m in modules[0].modules())
        self.droppable = any(isinstance(m, _DROPOUTS) for m in modules[0].modules())
        self.n_outputs = 0  # known after the first forward
        self.generator = None
        self._flatten()

    def _flatten(self) -> None:
        params, n_weights = [], 0
        for module in self._modules:
            own = [p for p in module.parameters() if p.requires_grad]
            decayed = [p for p in own if p.ndim > 1]
            params += decayed + [p for p in own if p.ndim <= 1]
            n_weights = sum(p.numel() for p in decayed)
        if not params:
            raise ValueError("The module built by 'network' has no parameters to fit.")
        self._bind(params, torch.cat([p.detach().flatten() for p in params]), n_weights)

    def _bind(self, params: list[Any], theta: Tensor, n_weights: int) -> None:
        self.theta, self.grad = theta, torch.zeros_like(theta)
        self._alone: list[ModuleStack] = []
        table, grads = (t.view(self.n_networks, -1) for t in (self.theta, self.grad))
        self.decaying = table[:, :n_weights], grads[:, :n_weights]
        start = 0
        for p in params:
            stop = start + p.numel()
            p.data = self.theta[start:stop].view_as(p)
            p.grad = self.grad[start:stop].view_as(p)
            start = stop

    def _run(self, x: Tensor, training: bool) -> Tensor:
        outputs = []
        for module in self._modules:
            out = module.train(training)(x)
            if not isinstance(out, Tensor):
                raise ValueError(
                    "The module built by 'network' must return a tensor. Got "
                    f"{type(out).__name__} instead."
                )
            outputs.append(out.unsqueeze(-1) if out.ndim == 1 else out)
        result = torch.stack(outputs)
        self.n_outputs = result.shape[-1]
        return result

    def forward(self, x: Tensor, *, training: bool) -> _ModuleTape:
        own_randomness = training and self.has_modes
        with _seeded(self.generator, x) if own_randomness else nullcontext():
            with torch.enable_grad():
                output = self._run(x, training)
        return _ModuleTape(x, output, training)

    def predict(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self._run(x, False)

    def thinned(self, generator: torch.Generator) -> ModuleStack:
        twin = copy.copy(self)
        twin._modules = copy.deepcopy(self._modules)
        for root in twin._modules:
            silenced = {}  # one module may stand in several places
            for module in list(root.modules()):
                for name, child in module._modules.items():
                    if isinstance(child, _DROPOUTS):
                        known = silenced.setdefault(child, _Silenced(child, generator))
                        setattr(module, name, known)
            root.register_forward_pre_hook(_begins(list(silenced.values())))
        return twin

    def gradient_norms(self, tape: _ModuleTape, gradient: Tensor) -> Tensor:
        norms = [
            row_gradient_norms(module.eval(), tape.x, gradient[k])
            for k, module in enumerate(self._modules)
        ]
        return torch.stack(norms)

    def backward(self, tape: _ModuleTape, gradient: Tensor, weights: Tensor) -> None:
        finite = torch.isfinite(tape.output).all(-1).all(0)
        if finite.all():
            self._differentiate(tape.graph, gradient, weights)
            if torch.isfinite(self.grad).all():
                return
        # 0 * inf: do without the rows that nobody follows, and those without output
        sound = finite & (weights > 0).any(0)
        index = torch.arange(len(sound), device=sound.device)
        # a sound row in their place: zeros might not be, as under a logarithm
        x = tape.x[torch.where(sound, index, sound.to(torch.uint8).argmax())]
        graph = self.forward(x, training=tape.training).graph
        gradient = gradient.masked_fill(~sound[:, None], 0)
        self._differentiate(graph, gradient, weights)

    def _differentiate(self, graph: Tensor, gradient: Tensor, weights: Tensor) -> None:
        self.grad.zero_()
        graph.backward(gradient * weights.unsqueeze(-1))

    def networks(self) -> list[ModuleStack]:
        if not self._alone:
            for k, module in enumerate(self._modules):
                single = copy.copy(self)
                single.n_networks, single._modules = 1, [module]
                single.theta = self.theta.chunk(self.n_networks)[k]
                single.grad = self.grad.chunk(self.n_networks)[k]
                weights, grads = self.decaying
                single.decaying = weights[k : k + 1], grads[k : k + 1]
                self._alone.append(single)
        return self._alone

    def network_grads(self) -> list[list[Tensor]]:
        return [
            [p.grad for p in m.parameters() if p.grad is not None]
            for m in self._modules
        ]

    def mode(self) -> nullcontext[None]:
        return nullcontext()

    def memory(self) -> list[Tensor]:
        return [self.theta, *(b for m in self._modules for b in m.buffers())]

    def clone(self) -> ModuleStack:
        modules = copy.deepcopy(self._modules)
        twin = ModuleStack(modules, dtype=self.theta.dtype, device=self.theta.device)
        twin.n_outputs = self.n_outputs
        return twin

    def compact(self) -> ModuleStack:
        return self

    def state(self) -> dict[str, Any]:
        states = [m.state_dict() for m in self._modules]
        arrays = [{k: v.cpu().numpy().copy() for k, v in s.items()} for s in states]
        return {"modules": arrays}

    def load(self, state: dict[str, Any]) -> None:
        for module, arrays in zip(self._modules, state["modules"], strict=True):
            # copied into the parameters, which stay views of theta
            module.load_state_dict({k: torch.tensor(v) for k, v in arrays.items()})

    def modules(self) -> list[nn.Module]:
        return [m.eval() for m in self._modules]


_DROPOUTS = nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d


class _Silenced(nn.Module):
    """Dropout whose draw is made once, for all rows, in evaluation mode too.

    A module used several times draws for each use, as it would in training.
    """

    def __init__(self, dropout: Any, generator: torch.Generator):
        super().__init__()
        self.rate, self.generator = dropout.p, generator
        self.by_channel = not isinstance(dropout, nn.Dropout)
        self.masks: list[Tensor] = []
        self.uses = 0  # in this forward pass

    def forward(self, x: Tensor) -> Tensor:
        if self.uses == len(self.masks):
            shape = [1, x.shape[1], *[1] * (x.ndim - 2)]
            shape = shape if self.by_channel else [1, *x.shape[1:]]
            self.masks.append(x.new_ones(shape))
            if self.rate > 0:
                fill_mask_(self.masks[-1], self.rate, self.generator)
        self.uses += 1
        return x * self.masks[self.uses - 1]


def _begins(silenced: list[_Silenced]) -> Callable[..., None]:
    """Return a hook that tells a pass from the one before."""

    def hook(module: nn.Module, inputs: Any) -> None:
        for part in silenced:
            part.uses = 0

    return hook


def _single_mode(module: nn.Module) -> bool:
    """Whether a module surely computes the same in training and evaluation.

    A class from outside torch.nn may look at ``self.training`` in its forward, so
    only known kinds pass.
    """
    package, _, kind = type(module).__module__.rpartition(".")
    known = {"linear", "conv", "activation", "container", "flatten", "pooling"}
    known |= {"normalization", "padding", "sparse", "upsampling"}
    return (
        package == "torch.nn.modules"
        and kind in known
        and not isinstance(module, nn.RReLU | nn.MultiheadAttention)
    )


@contextmanager
def _seeded(generator: torch.Generator | None, x: Tensor) -> Iterator[None]:
    """Lend the global generator to a module's dropout, seeded from ours."""
    at = {} if generator is None else {"device": generator.device}
    seed = int(torch.randint(2**31, (), generator=generator, **at))
    devices = [x.device] if x.is_cuda else []
    with _GLOBAL_RNG, torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        for device in devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
