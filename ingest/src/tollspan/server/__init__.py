"""The ingest server: what fleets send their events, spans and questions to."""
