"""From rows to columns, from columns to figures with intervals."""
