"""Programs that leave streams open in some way, run under `tollspan run`."""

HEAD = """
import atexit, gc, os, sys, threading
from openai import OpenAI
client = OpenAI(max_retries=0)
def ask(**more):
    return client.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Say hello"}],
        stream=True,
        **more,
    )
def take(stream, count=4):
    for _, chunk in zip(range(count), stream):
        pass
"""

ENDS: dict[str, str] = {
    "the end of main": "kept = ask(); take(kept)",
    "sys.exit": "kept = ask(); take(kept); sys.exit(3)",
    "an unhandled exception": "kept = ask(); take(kept); raise ValueError('mine')",
    "sys.exit in the loop": """
for number, chunk in enumerate(ask()):
    if number == 3:
        sys.exit(3)
""",
    "an open with block": """
def generate():
    with ask() as stream:
        for chunk in stream:
            yield chunk
kept = generate()
take(kept)
""",
    "the SDK's helper": """
manager = client.chat.completions.stream(
    model="gpt-4o-mini", messages=[{"role": "user", "content": "Say hello"}]
)
helper = manager.__enter__()
take(helper, 6)
""",
    "a cycle": """
class Holder: pass
holder = Holder(); holder.self = holder; holder.stream = ask(); take(holder.stream)
del holder
""",
    "a thread's own stream": """
kept = []
def work():
    kept.append(ask()); take(kept[0])
thread = threading.Thread(target=work); thread.start(); thread.join()
""",
}

SPANS = """
import gc, threading
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

class Collecting(SpanProcessor):
    '''Collects garbage inside a lock that is not re-entrant, as any allocation may.'''
    def __init__(self): self.lock = threading.Lock()
    def on_start(self, span, parent_context=None):
        with self.lock: gc.collect()
    def on_end(self, span):
        with self.lock: gc.collect()

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(Collecting())
batch = BatchSpanProcessor(exporter)
provider.add_span_processor(batch)
trace.set_tracer_provider(provider)
gc.disable()
for _ in range(5):
    cycle = [ask()]; take(cycle[0]); cycle.append(cycle); del cycle
    with trace.get_tracer("app").start_as_current_span("mine"): pass
inner = getattr(batch, "_batch_processor", batch)
for name in ("_export_lock", "condition"):
    lock = getattr(inner, name, None)
    if lock is not None:
        cycle = [ask()]; take(cycle[0]); cycle.append(cycle); del cycle
        with lock: gc.collect()
print("done")
"""
