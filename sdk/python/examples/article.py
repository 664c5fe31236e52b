#!/usr/bin/env python3
"""The three steps from a model on disk to answers over a table, for a daemon that runs. Cells (# %%) for a notebook, or all at once:

    PYTHONPATH=sdk/python python3 sdk/python/examples/article.py MODEL [SERVER [POOL]]
"""
import sys

from tenon import DoesNotFit, Registry

MODEL = sys.argv[1] if len(sys.argv) > 1 else "/models/SmolLM2-135M-Instruct"
SERVER = sys.argv[2] if len(sys.argv) > 2 else "unix:/run/tenond.sock"
POOL = sys.argv[3] if len(sys.argv) > 3 else "mine"

# %% Step 1: register a model, from this machine's disk
registry = Registry(SERVER)
version = registry.log_model(MODEL, model_name="smollm2_article", comment="SmolLM2, as it was published",
                             metrics={"perplexity": 9.38})
version.set_alias("prod")
print(version, "has the digest", version.show()["digest"][:12])

# %% Does it fit, and how?
plan = version.plan(pool=POOL, max_model_len=2048)
print("fits" if plan["fits"] else "does not fit", "with", round(plan["resident"] / 2 ** 20), "MiB")

# %% Step 2: an endpoint, with one call
try:
    service = version.create_service(service_name="article", service_compute_pool=POOL, max_instances=1,
                                     inference_engine_options={"max_model_len": 2048, "max_num_seqs": 16})
except DoesNotFit as error:
    sys.exit(f"{error}\n{error.plan}")
print(service, "is", service.state)

# %% Step 3: ask it; one conversation, then the rows of a table
answer = service.chat("Which planet is the largest?", max_tokens=24, temperature=0)
print(answer["choices"][0]["message"]["content"])

rows = [{"key": name, "messages": [{"role": "user", "content": f"Describe in one sentence: {name}"}]}
        for name in ("a kettle", "an umbrella", "a bicycle")]
for result in version.run(rows, service_name="article", params={"max_tokens": 24, "temperature": 0}):
    print(result.key, "->", result.value if result.ok else f"error {result.error_code}: {result.error}")

# %% What is not used costs nothing; the next request brings it back
service.suspend()
print("after suspend:", service.state)
print(service.run(["Water is made of"], params={"max_tokens": 8, "temperature": 0})[0].value)

# %% Leave nothing behind
service.delete()
version.unset_alias("prod")
registry.delete_model("smollm2_article")
print("services left:", ", ".join(left["name"] for left in registry.list_services()) or "none")
