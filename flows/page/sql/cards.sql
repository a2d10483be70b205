-- The words of adapters' cards.
SELECT adapter, text FROM ledger_cards WHERE text <> ''
