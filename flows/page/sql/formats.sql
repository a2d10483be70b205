-- The surest evidence on the prompt format that an adapter was trained in.
SELECT base, adapter, format, source, confidence, sure, reason FROM adapter_formats WHERE place = 1
