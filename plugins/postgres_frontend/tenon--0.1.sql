\echo Use "CREATE EXTENSION tenon" to load this file. \quit

-- One row at a time; llm_map is the fast path over a table. NULL in, NULL out; a row that fails is NULL with a warning.
CREATE FUNCTION llm_complete(service text, prompt text, options jsonb DEFAULT '{}') RETURNS text
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 1000000;
COMMENT ON FUNCTION llm_complete IS 'The model''s answer to a prompt';

CREATE FUNCTION llm_chat(service text, messages jsonb, options jsonb DEFAULT '{}') RETURNS jsonb
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 1000000;
COMMENT ON FUNCTION llm_chat IS 'The server''s whole answer to a list of messages';

CREATE FUNCTION llm_try(service text, prompt text, options jsonb DEFAULT '{}') RETURNS jsonb
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 1000000;
COMMENT ON FUNCTION llm_try IS '{value, error, code, finish_reason, usage}: a row that fails says why';

CREATE FUNCTION llm_json(service text, prompt text, schema jsonb, options jsonb DEFAULT '{}') RETURNS jsonb
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 1000000;
COMMENT ON FUNCTION llm_json IS 'An answer that follows a JSON schema; needs a server that can constrain its answers';

CREATE FUNCTION llm_filter(service text, prompt text, options jsonb DEFAULT '{}') RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 1000000;
COMMENT ON FUNCTION llm_filter IS 'Yes or no; the model can say nothing else';

CREATE FUNCTION llm_embed(service text, input text) RETURNS real[]
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 1000000;
COMMENT ON FUNCTION llm_embed IS 'The embedding of a text; needs a server that makes them';

CREATE FUNCTION llm_tokens(service text, input text) RETURNS bigint
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 1000000;
COMMENT ON FUNCTION llm_tokens IS 'How many tokens a text has';

-- The rows of a query, (key, prompt [, params]), asked many at a time; they share the model's batch.
CREATE FUNCTION llm_map(service text, query text, options jsonb DEFAULT '{}',
        OUT key text, OUT value text, OUT status text, OUT error_code text, OUT error text, OUT finish_reason text,
        OUT prompt_tokens bigint, OUT completion_tokens bigint, OUT latency_ms bigint, OUT attempts integer)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 1000000 ROWS 1000;
COMMENT ON FUNCTION llm_map IS 'Answers to the prompts of a query, one row each, whatever becomes of it';
