"""What OpenTelemetry's GenAI conventions ask of spans, metrics and events, and who checks it."""
