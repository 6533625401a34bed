"""Plain records in; numbers, tables and pages out. No Django, no model, no network."""
