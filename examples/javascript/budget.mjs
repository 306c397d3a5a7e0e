// Asks a tollspan server before each call to a model, with nothing but fetch: Node 18 or newer, Deno, Bun.
//
//   TOLLSPAN_ENDPOINT  the server, http://127.0.0.1:4790 say
//   TOLLSPAN_API_KEY   a key of scope `ingest`
//   OPENAI_BASE_URL    where the model is, https://api.openai.com/v1 by default
//   OPENAI_API_KEY     the provider's key, which never goes to the tollspan server
//   CUSTOMER           who pays

const { TOLLSPAN_ENDPOINT, TOLLSPAN_API_KEY, OPENAI_API_KEY = "", CUSTOMER = "acme" } = process.env;
const OPENAI = process.env.OPENAI_BASE_URL ?? "https://api.openai.com/v1";
const MODEL = "gpt-4o-mini";
const MOST_OUTPUT = 200;

/** A call that was refused before it was made. `denial` says why, as the SDK's exceptions do. */
class DeniedError extends Error {
  constructor(denial) {
    super(denial.text);
    this.denial = denial;
  }
}

async function post(url, key, body) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${key}` },
    body: JSON.stringify(body),
  });
  const said = await answer.json();
  if (!answer.ok) {
    throw Object.assign(new Error(said.error?.message ?? answer.statusText), { status: answer.status });
  }
  return said;
}

/** Say the same again while the server can't be reached: it counts once, by the call's id. */
async function tell(path, body, tries = 5) {
  for (let left = tries; ; left -= 1) {
    try {
      return await post(`${TOLLSPAN_ENDPOINT}${path}`, TOLLSPAN_API_KEY, body);
    } catch (error) {
      const mayPass = error.status === undefined || error.status === 429 || error.status >= 500;
      if (!mayPass || left <= 1) throw error;
      await new Promise((done) => setTimeout(done, 500));
    }
  }
}

/** What OpenAI says was used, in buckets that don't overlap. */
function bucketsOf(usage) {
  const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
  const reasoning = usage.completion_tokens_details?.reasoning_tokens ?? 0;
  return {
    input_uncached: usage.prompt_tokens - cached,
    cache_read: cached,
    output: usage.completion_tokens - reasoning,
    reasoning,
  };
}

/** Ask, make the call, say how it went. */
async function chat(text, attribution) {
  const callId = crypto.randomUUID();
  const messages = [{ role: "user", content: text }];
  const request = { model: MODEL, messages, max_tokens: MOST_OUTPUT };
  const asked = await tell("/v1/authorize", {
    call_id: callId,
    provider: "openai",
    model: request.model,
    input_bytes: new TextEncoder().encode(JSON.stringify(messages)).length,
    max_output_tokens: request.max_tokens,
    attribution,
  });
  if (asked.decision === "deny") throw new DeniedError(asked.denial);
  request.model = asked.model; // where the rules reroute or clamp, the hold is for these
  request.max_tokens = asked.max_output_tokens;

  let answer;
  try {
    answer = await post(`${OPENAI}/chat/completions`, OPENAI_API_KEY, request);
  } catch (error) {
    // With a status the provider has refused it; without one nobody knows what became of it.
    const refused = error.status !== undefined;
    await tell("/v1/settle", {
      call_id: callId,
      outcome: "error",
      not_billed: refused,
      error_type: String(error.status ?? error.name),
    });
    throw error;
  }
  const settled = await tell("/v1/settle", {
    call_id: callId,
    usage: bucketsOf(answer.usage),
    response: { id: answer.id, model: answer.model },
  });
  return { text: answer.choices[0].message.content, costNanousd: BigInt(settled.cost_nanousd ?? 0) };
}

let spent = 0n;
for (let number = 1; number <= 100; number += 1) {
  try {
    const answer = await chat(`Say hello number ${number}.`, { customer: CUSTOMER, feature: "greeting" });
    spent += answer.costNanousd;
    console.log(`call ${number}: ${answer.costNanousd} nano-USD, ${spent} in all`);
  } catch (error) {
    if (!(error instanceof DeniedError)) throw error;
    const { type, rule_id: rule, remaining, asked, unit } = error.denial;
    console.log(`call ${number} refused: ${type} by ${rule}; ${remaining} of ${asked} ${unit} left`);
    break;
  }
}
