#!/usr/bin/env python3
"""`tenon plan` and `tenon pool` as a person or a program asks them: five published models, from a config.json alone, in pools that
are not here. Over a backend that only plans (tests/unit/ruler_backend.h), and over cuda_tp.

    test_plan.py RULER.so
"""
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

GIB = 1 << 30
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 128256, "rms_norm_eps": 1e-5,
         "rope_theta": 500000.0, "torch_dtype": "bfloat16", "hidden_size": 4096, "intermediate_size": 14336,
         "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192}
MODELS = {
    "llama-3-8b": LLAMA,
    "llama-3-70b": {**LLAMA, "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64},
    "llama-3.1-405b": {**LLAMA, "hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 126,
                       "num_attention_heads": 128, "max_position_embeddings": 131072},
    "mixtral-8x7b": {**LLAMA, "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "vocab_size": 32000,
                     "max_position_embeddings": 32768, "num_local_experts": 8, "num_experts_per_tok": 2},
    "gemma-7b": {**LLAMA, "architectures": ["GemmaForCausalLM"], "model_type": "gemma", "vocab_size": 256000, "hidden_size": 3072,
                 "intermediate_size": 24576, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 16,
                 "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh"},
}
PARAMETERS = {"llama-3-8b": 8030261248, "llama-3-70b": 70553706496, "llama-3.1-405b": 405853388800,
              "mixtral-8x7b": 46702792704, "gemma-7b": 8537680896}
KV_KIB = {"llama-3-8b": 128, "llama-3-70b": 320, "llama-3.1-405b": 504, "mixtral-8x7b": 128, "gemma-7b": 448}
PREDEFINED = ["GPU_NV_S", "GPU_NV_M", "GPU_NV_L"]


class Planner:
    """The program with a backend for described devices; None: the predefined pools' own."""

    def __init__(self, folder, backend):
        self.folder, self.backend = folder, backend

    def run(self, *arguments):
        command = [os.environ["TENON"], *arguments, "--set", "plugins.path=" + os.environ["TENON_PLUGINS"]]
        if self.backend:
            for pool in PREDEFINED:
                command += ["--set", f"pool {pool}.backend={self.backend}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def plan(self, model, *flags, code=0):
        done = self.run("plan", os.path.join(self.folder, model), "--load-format", "dummy", *flags)
        assert done.returncode == code, (model, flags, done.returncode, done.stdout[-2000:], done.stderr)
        return done

    def json(self, model, *flags, code=0):
        done = self.plan(model, "--json", *flags, code=code)
        return json.loads(done.stdout)


def test_published_models(planner):
    """Weights and KV of each model, from its config.json, whichever pool; and every advised change makes it fit."""
    expected = {"llama-3-8b": (0, 0, 0), "llama-3-70b": (2, 2, 0), "llama-3.1-405b": (None, None, 2), "mixtral-8x7b": (2, 2, 0),
                "gemma-7b": (2, 0, 0)}
    for model, codes in expected.items():
        for pool, code in zip(PREDEFINED, codes):
            flags = ["--pool", pool]
            done = planner.run("plan", os.path.join(planner.folder, model), "--load-format", "dummy", "--json", *flags)
            plan = json.loads(done.stdout)
            assert code is None or done.returncode == code, (model, pool, done.returncode, done.stderr)
            assert plan["fits"] == (done.returncode == 0) and (len(plan["fixes"]) > 0) == (done.returncode == 2), plan
            ranks, whole = plan["tensor_parallel_size"], 2 * PARAMETERS[model]
            assert 1 <= plan["bytes"]["weights"] * ranks / whole < 1.002, (model, pool, plan["bytes"])
            assert plan["kv_sequence_bytes"] * ranks >= KV_KIB[model] * 1024 * plan["max_model_len"], plan
            assert plan["fits"] or plan["reason"] in done.stderr, done.stderr
            assert plan["kv_token_bytes"] * ranks == KV_KIB[model] * 1024, plan
            for fix in plan["fixes"]:
                assert planner.json(model, *flags, *shlex.split(fix["flags"]))["fits"], fix


def test_flags(planner):
    small = ["--pool", "GPU_NV_S"]
    plan = planner.json("llama-3-8b", *small, "--max-model-len", "4K", "--concurrency", "2", "--util", "0.95")
    assert plan["max_model_len"] == 4096 and plan["max_num_seqs"] == 2, plan
    assert abs(plan["budget"] / plan["device_total"] - 0.95) < 1e-6 and plan["strategy"] == "one device", plan
    most = plan["largest_concurrency"]
    planner.json("llama-3-8b", *small, "--max-model-len", "4K", "--concurrency", str(most), "--util", "0.95")
    over = planner.json("llama-3-8b", *small, "--max-model-len", "4K", "--concurrency", str(most + 1), "--util", "0.95", code=2)
    assert "do not fit at once" in over["reason"], over
    wide = ["--pool", "GPU_NV_S", "--util", "0.95", "--concurrency", "4", "--kv-dtype"]
    assert planner.json("llama-3-8b", *wide, "bfloat16")["kv_token_bytes"] == 128 * 1024
    advice = planner.json("llama-3-8b", *wide, "float32", code=2)["fixes"]
    assert any(fix["flags"] == "--kv-dtype bfloat16" for fix in advice), advice
    quantized = planner.json("llama-3-70b", "--pool", "GPU_NV_M", "--quant", "awq")
    assert quantized["tensor_parallel_size"] == 4 and quantized["bytes"]["weights"] < 10.5 * GIB, quantized
    assert any("PCIe" in warning for warning in quantized["warnings"]), quantized
    assert not planner.json("llama-3-70b", "--pool", "GPU_NV_L")["warnings"]


def test_strategies(planner):
    for strategy, ranks in [("one", 1), ("tp", 2), ("auto", 1)]:
        plan = planner.json("llama-3-8b", "--pool", "GPU_NV_M", "--strategy", strategy)
        assert plan["tensor_parallel_size"] == ranks, (strategy, plan)
    plan = planner.json("llama-3-8b", "--pool", "GPU_NV_M", "--tp", "4")
    assert plan["strategy"] == "tensor parallel" and plan["tensor_parallel_size"] == 4, plan
    nodes = planner.json("llama-3-70b", "--pool", "GPU_NV_M", "--strategy", "nodes", code=2)
    assert "has one node, but it takes 2" in nodes["reason"] and nodes["nodes"] == 2, nodes
    plan = planner.json("llama-3-70b", "--pool", "GPU_NV_M", "--set", "pool GPU_NV_M.nodes=2")
    assert plan["strategy"] == "several nodes" and plan["nodes"] == 2 and len(plan["warnings"]) == 2, plan
    odd = planner.json("llama-3-8b", "--pool", "GPU_NV_M", "--tp", "3", code=2)
    assert "degrees that do: 1, 2, 4, 8" in odd["reason"] and odd["fixes"][0]["flags"] == "--tp 1", odd
    many = planner.json("llama-3-8b", "--pool", "GPU_NV_M", "--tp", "8", code=2)
    assert "pool GPU_NV_M has 4" in many["reason"], many
    assert "4 ranks are strategy" in planner.plan("llama-3-8b", "--pool", "GPU_NV_M", "--tp", "4", "--strategy", "one", code=1).stderr


def test_misfit_without_a_cure(planner):
    tiny = ["--pool", "toy", "--set", "pool toy.device=toy", "--set", "pool toy.memory=1GiB",
            "--set", f"pool toy.backend={planner.backend or 'cuda_tp'}"]
    done = planner.plan("llama-3.1-405b", *tiny, "--set", "pool GPU_NV_L.count=1", "--set", "pool GPU_NV_M.count=1", code=3)
    assert "it does not fit\n" in done.stdout and "does not fit" in done.stderr, done


def test_refusals(planner):
    for flags, code, words in [
            (["--pool", "GPU_NV_X"], 1, ['did you mean "GPU_NV_S"']), (["--strategy", "all"], 1, ["auto, one, tp, nodes"]),
            (["--pool", "GPU_NV_S", "--quant", "awk"], 1, ["did you mean awq"]), (["--polo", "x"], 2, ["--pool"]),
            (["--pool", "GPU_NV_S", "--util", "1.5"], 1, ["outside"]), (["--pool", "GPU_NV_S", "--max-model-len", "9000"], 1, ["8192"]),
            (["--pool", "GPU_NV_S", "--set", "pool GPU_NV_S.cuont=2"], 1, ["--set: [pool GPU_NV_S]", 'did you mean "count"'])]:
        done = planner.plan("llama-3-8b", *flags, code=code)
        assert done.stdout == "" and all(word in done.stderr for word in words), (flags, done.stderr)
    path = os.path.join(planner.folder, "pools.ini")
    for text, line, words in [("[pool a]\nnodes = 1\ndevise = H100\n", 3, ["devise", '"device"']), ("\n[poool a]\n", 2, ["[pool NAME]"]),
                              ("[pool a]\ndevice = H1000\n", 2, ['"H100"']), ("[pool a]\nmemory = much\n", 2, ["much", "size"])]:
        with open(path, "w") as file:
            file.write(text)
        done = planner.plan("llama-3-8b", "--config", path, "--pool", "a", code=1)
        assert f"{path}:{line}" in done.stderr and all(word in done.stderr for word in words), done.stderr


def test_text(planner):
    """What a person reads, to the letter: the arithmetic behind it is the ruler's."""
    text = planner.plan("llama-3-70b", "--pool", "GPU_NV_M", code=2).stdout
    expected = """\
llama, 80 layers, width 8192, on A10G, each of 4
  weights                       32.86 GiB
"""
    assert text.startswith(expected), text
    tail = text[text.index("pool GPU_NV_M"):]
    assert tail == """\
pool GPU_NV_M: 4 x A10G, PCIe
strategy: tensor parallel, 4 ranks
it does not fit; each of these makes it fit:
  --quant int8                  a quantized checkpoint (`tenon quantize` makes one)
  --tp 4 --pool GPU_NV_L        4 of its 8 A100-40GB
  --tp 8 --set "pool GPU_NV_M.nodes=2"  2 nodes of that kind, 8 ranks
  largest context: none, not even 256 tokens
warning: tensor parallel over PCIe: every layer waits for two sums over it; NVLink is many times faster
""", tail
    text = planner.plan("llama-3-8b", "--pool", "GPU_NV_L").stdout
    tail = text[text.index("pool GPU_NV_L"):]
    assert tail.startswith("""\
pool GPU_NV_L: 8 x A100-40GB, NVLink
strategy: one device
it fits
  largest context: 8192 tokens, all that the model was made for
  largest concurrency: """) and tail.endswith(" sequences of 8192 tokens\n"), tail


PRICES = ["--price-in", "0.15", "--price-out", "0.60"]
RENT = ["--pool", "GPU_NV_M", "--set", "pool GPU_NV_M.rate_per_hour=5"]


def test_costs(planner):
    """Each flag of --roi, against arithmetic."""
    volumes = ["--in", "300", "--cached", "100", "--out", "100"]
    plan = planner.json("llama-3-8b", *RENT, "--roi", *PRICES, *volumes, "--price-cached", "0.05", "--throughput", "1000", "--peak", "1500")
    roi = plan["roi"]
    assert roi["measured"] and roi["tokens_per_second"] == 1000 and roi["pool_cost"] == 5 * 730 and roi["volume"] == 500, roi
    assert abs(roi["price"] - (0.6 * 0.15 + 0.2 * 0.05 + 0.2 * 0.60)) < 1e-12 and roi["replicas_in_pool"] == 4, roi
    assert abs(roi["capacity"] - 4 * 700 * 5 * 730 * 3600 / 1e6) < 1e-6, roi
    assert abs(roi["break_even"] - 3650 / roi["price"]) < 1e-6 and roi["reachable"], roi
    assert roi["replicas"] == 3 and roi["pools"] == 1 and roi["cost_here"] == 3650, roi
    assert abs(roi["cost_elsewhere"] - 500 * roi["price"]) < 1e-9, roi
    estimated = planner.json("llama-3-8b", *RENT, "--roi", *PRICES)["roi"]
    assert not estimated["measured"] and estimated["batch"] > 1 and estimated["tokens_per_second"] > 50, estimated
    assert "roi" not in planner.json("llama-3-70b", *RENT, "--roi", *PRICES, code=2)

    path = os.path.join(planner.folder, "costs.ini")
    with open(path, "w") as file:
        file.write("[pool GPU_NV_L]\nrate_per_hour = 20\ncurrency = EUR\n[price dear]\ninput = 2\noutput = 8\n"
                   "[roi]\ninput = 4000\noutput = 1000\n")
    text = planner.plan("llama-3-70b", "--config", path, "--pool", "GPU_NV_L", "--roi", "--price", "dear", "--throughput", "2000").stdout
    assert text[text.index("month in pool"):].startswith("""\
month in pool GPU_NV_L: 14,600.00 EUR
  throughput    2000 answer tokens/s of one replica, measured
  capacity      36.8 G tokens a month, 2 replicas at 70 % load
  elsewhere     3.2 EUR a million tokens, of which 80 % prompt, 0 % cached, 20 % answer
  break-even    4.56 G tokens a month
  your volume   5.00 G tokens: 1 replica in 1 pool, 14,600.00 EUR; elsewhere 16,000.00
                the pool saves 1,400.00 a month

cost of a month, EUR:  = pool GPU_NV_L   / elsewhere
"""), text
    text = planner.plan("llama-3-70b", "--config", path, "--pool", "GPU_NV_L", "--roi", "--price", "dear", "--throughput", "100").stdout
    assert "4.56 G tokens a month: unreachable, more than the pool's capacity" in text, text
    text = planner.plan("llama-3-8b", *RENT, "--roi", *PRICES).stdout
    assert "estimated" in text and "your " not in text, text
    text = planner.plan("llama-3-8b", *RENT, "--roi", *PRICES, "--throughput", "1000", "--peak", "3500").stdout
    assert "\n  your peak     3500 answer tokens/s: 5 replicas in 2 pools, 7,300.00 USD\n" in text, text


def test_picture(planner):
    path = os.path.join(planner.folder, "costs.svg")
    for flags in ([], ["--throughput", "5000"], ["--throughput", "1", "--in", "900000", "--out", "900000"]):
        planner.plan("llama-3-8b", *RENT, "--roi", *PRICES, "--svg", path, *flags, "--set", "pool GPU_NV_M.currency=<&>")
        root = xml.etree.ElementTree.parse(path).getroot()
        name = "{http://www.w3.org/2000/svg}"
        assert root.tag == name + "svg" and root.find(name + "title").text, root
        texts = [text.text for text in root.iter(name + "text")]
        assert "<&> a month" in texts and "pool GPU_NV_M" in " ".join(texts), texts
        for node in root.iter():
            assert not any("nan" in value or "inf" in value for value in node.attrib.values()), node.attrib
        os.unlink(path)
    assert "give both" in planner.plan("llama-3-8b", *RENT, "--svg", path, code=1).stderr
    lost = planner.plan("llama-3-8b", *RENT, "--roi", *PRICES, "--svg", planner.folder + "/no/where.svg", code=1)
    assert "no/where.svg: No such file" in lost.stderr, lost.stderr
    full = planner.plan("llama-3-8b", *RENT, "--roi", *PRICES, "--svg", "/dev/full", code=1)
    assert "could not be written whole: No space left" in full.stderr, full.stderr


UNITS = {"M": 1, "G": 1e3, "T": 1e6}


def read_axes(root):
    """Functions from places of the picture to millions of tokens and to money, by what is written at the axes."""
    texts = [(float(t.get("x")), float(t.get("y")), t.text) for t in root.iter("{http://www.w3.org/2000/svg}text")]
    volumes = [(x, float(text.split()[0]) * UNITS[text.split()[1]]) for x, y, text in texts if y == 316 and text != "0"]
    costs = [(y - 4, float(text.replace(",", ""))) for x, y, text in texts if x == 84]
    assert len(volumes) >= 2 and len(costs) >= 3, texts
    (x, volume), (top, cost) = volumes[-1], costs[-1]
    for places, scale in ((volumes, lambda at: (at - 90) * volume / (x - 90)), (costs, lambda at: (300 - at) * cost / (300 - top))):
        assert all(abs(scale(at) - value) <= 0.006 * value + 1e-9 for at, value in places), places
    return lambda at: (at - 90) * volume / (x - 90), lambda at: (300 - at) * cost / (300 - top)


def numbers(path):
    return [(move[0], [float(number) for number in move[1:].split()]) for move in re.findall(r"[A-Z][^A-Z]*", path)]


def test_figures_of_the_picture(planner):
    """Lines, steps and marks are where an independent computation has them: pixels are a tenth."""
    path, month, price = os.path.join(planner.folder, "figures.svg"), 5 * 730, 0.6 * 0.15 + 0.4 * 0.60
    for speed in (2000, 100):
        capacity = 4 * 0.7 * speed / 0.4 * 730 * 3600 / 1e6  # millions of tokens
        shown = planner.plan("llama-3-8b", *RENT, "--roi", *PRICES, "--in", "6000", "--out", "4000", "--throughput", str(speed), "--svg", path).stdout
        root = xml.etree.ElementTree.parse(path).getroot()
        volume_at, cost_at = read_axes(root)
        paths = {p.get("stroke"): numbers(p.get("d")) for p in root.iter("{http://www.w3.org/2000/svg}path")}
        (_, start), (_, end) = paths["#36c"]
        assert volume_at(start[0]) == cost_at(start[1]) == 0 and abs(cost_at(end[1]) / (volume_at(end[0]) * price) - 1) < 0.01, paths
        steps = paths["#0b6"]
        assert abs(cost_at(steps[0][1][1]) / month - 1) < 0.02, steps
        for n, (name, (at,)) in enumerate(steps[1:-1]):
            expected = (n // 2 + 1) * capacity if name == "H" else (n // 2 + 2) * month
            assert abs((volume_at if name == "H" else cost_at)(at) / expected - 1) < 0.02, (n, name, at, expected)
        assert len(steps) == 2 * math.ceil(volume_at(620) / capacity), (steps, capacity)
        assert abs(volume_at(numbers([p.get("d") for p in root.iter("{http://www.w3.org/2000/svg}path") if p.get("stroke-dasharray")][0])[0][1][0])
                   / 10000 - 1) < 0.01
        circles = list(root.iter("{http://www.w3.org/2000/svg}circle"))
        assert len(circles) == (month / price <= capacity) and ("unreachable" in shown) == (not circles), (circles, shown)
        for circle in circles:
            assert abs(volume_at(float(circle.get("cx"))) / (month / price) - 1) < 0.01, circle.attrib
            assert abs(cost_at(float(circle.get("cy"))) / month - 1) < 0.02, circle.attrib
        check_terminal(shown, month, price, capacity)
        os.unlink(path)


def check_terminal(shown, month, price, capacity):
    """The plot of characters: each column's two costs, by the numbers at its corners."""
    lines = shown[shown.index("cost of a month"):].splitlines()[1:]
    most = float(lines[0].split("|")[0].replace(",", ""))
    amount, unit = re.search(r"([\d.]+) ([MGT]) tokens a month", lines[-1]).groups()
    rows = [line[13:] for line in lines[:14]]
    for column in range(60):
        volume = float(amount) * UNITS[unit] * column / 59
        for cost, marks in ((volume * price, "/+="), (max(1, math.ceil(volume / capacity)) * month, "=+")):
            places = [13 * (1 - cost / most) + off for off in (-0.6, 0, 0.6)]
            found = [row for row in range(14) if rows[row][column:column + 1] in marks and rows[row][column:column + 1]]
            edge = any(abs(volume / (n * capacity) - 1) < 0.02 for n in range(1, 99))
            assert edge or any(places[0] <= row <= places[2] for row in found), (column, cost, found, shown)


def test_costs_that_are_not_given(planner):
    for flags, words in [(["--pool", "GPU_NV_M", *PRICES], "set rate_per_hour in [pool GPU_NV_M]"),
                         ([*RENT, "--price-in", "1"], "set output in [price api], or --price-out"),
                         ([*RENT, *PRICES, "--in", "5"], "set roi.output"), ([*RENT, *PRICES, "--in", "-5"], "outside 0 to"),
                         ([*RENT, *PRICES, "--price-in", "-5", "--set", "price api.input=3"], "--price-in -5: a price is 0 to"),
                         ([*RENT, *PRICES, "--price-cached", "1e300"], "--price-cached 1e+300: a price is 0 to")]:
        done = planner.plan("llama-3-8b", *flags, "--roi", code=1)
        assert words in done.stderr and not done.stdout, (flags, done)
    for number in ("nan", "inf", "-inf", "1e999", "1x", ""):
        assert "not a number" in planner.plan("llama-3-8b", *RENT, *PRICES, "--roi", "--price-out", number, code=2).stderr
    endless = planner.json("llama-3-8b", *RENT, *PRICES, "--roi", "--in", "1e9", "--out", "1e-12")["roi"]
    assert endless["batch"] >= 1 and endless["tokens_per_second"] > 0, endless


def test_pool_list(planner):
    names = [line.split()[0] for line in planner.run("pool", "list").stdout.splitlines()]
    assert names == ["pool", *PREDEFINED], names
    done = planner.run("pool", "list", "--json", "--set", "pool mine.device=L40S", "--set", "pool mine.rate_per_hour=2",
                       "--set", "pool mine.hours_per_month=100")
    pools = {pool["name"]: pool for pool in json.loads(done.stdout)}
    assert pools["mine"]["memory"] == 45372 << 20 and pools["mine"]["month_cost"] == 200 and pools["mine"]["currency"] == "USD"
    assert "month_cost" not in pools["GPU_NV_S"] and pools["GPU_NV_L"]["count"] == 8
    cards = json.loads(planner.run("pool", "devices", "--json").stdout)
    assert [card["name"] for card in cards][:2] == ["A10G", "A100-40GB"] and len(cards) == 8
    assert "RTX-4090" in planner.run("pool", "devices").stdout
    refused = planner.run("pool", "lists")
    assert refused.returncode == 2 and "list and devices" in refused.stderr


def test_what_is_here(planner):
    """A pool without a device, and no pool at all, are this machine."""
    tiny = os.environ["TENON_TEST_MODEL"]
    here = json.loads(planner.run("plan", tiny, "--json").stdout)
    assert here["fits"] and "pool" not in here and here["device"] == "cpu", here
    named = planner.run("plan", tiny, "--json", "--pool", "mine", "--set", "pool mine.rate_per_hour=1")
    assert json.loads(named.stdout)["pool"] == {"name": "mine", "device": "cpu", "count": 1, "nodes": 1, "link": "unknown"}
    more = planner.run("plan", tiny, "--pool", "mine", "--set", "pool mine.count=2")
    assert more.returncode == 1 and "count=2, but this machine has 1" in more.stderr, more.stderr
    host = planner.run("plan", tiny, "--json", "--pool", "server", "--set", "pool server.device=server", "--set", "pool server.memory=64GiB",
                       "--set", "pool server.host_memory=true", "--set", "pool server.backend=cpu")
    plan = json.loads(host.stdout)
    assert plan["fits"] and plan["device_total"] == 64 * GIB, plan
    real = planner.run("plan", tiny, "--json", "--util", "0.001")
    assert real.returncode == 2 and json.loads(real.stdout)["fixes"][0]["flags"].startswith("--util"), real


def test_example_ini():
    """share/tenon.ini shows every key of a pool and of a price."""
    with open(os.path.join(os.path.dirname(__file__), "../../share/tenon.ini")) as file:
        text = file.read()
    for key in ["device", "memory", "memory_bandwidth", "bf16_teraflops", "link", "count", "nodes", "backend", "host_memory",
                "rate_per_hour", "hours_per_month", "power_per_month", "depreciation_per_month", "operations_per_month", "currency"]:
        assert f"\n; {key} = " in text[text.index("[pool mine]"):], key
    for key in ["input", "cached", "output"]:
        assert f"\n; {key} = " in text[text.index("[price api]"):], key


def main(ruler):
    folder = tempfile.mkdtemp(prefix="tenon-plan-")
    try:
        for name, config in MODELS.items():
            os.mkdir(os.path.join(folder, name))
            with open(os.path.join(folder, name, "config.json"), "w") as out:
                json.dump(config, out)
        planner = Planner(folder, ruler)
        for test in (test_published_models, test_flags, test_strategies, test_misfit_without_a_cure, test_refusals, test_text,
                     test_costs, test_picture, test_figures_of_the_picture, test_costs_that_are_not_given, test_pool_list, test_what_is_here):
            test(planner)
        test_example_ini()
        for test in (test_published_models, test_flags, test_strategies, test_misfit_without_a_cure):
            test(Planner(folder, None))
    finally:
        shutil.rmtree(folder)


main(sys.argv[1])
