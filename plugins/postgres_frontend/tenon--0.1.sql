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

-- Jobs: a query whose answers go to a table, 1,024 rows to a transaction, until every key has one. What is asked is in llm_jobs, what
-- is answered in the target, so that whoever runs a step goes on where the last one ended.
CREATE TABLE llm_jobs(
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner name NOT NULL DEFAULT current_user,
    service text NOT NULL,
    query text NOT NULL,
    target text NOT NULL,
    options jsonb NOT NULL,
    search_path text NOT NULL DEFAULT current_setting('search_path'), -- what the query and the target mean
    state text NOT NULL DEFAULT 'submitted' CHECK (state IN ('submitted', 'running', 'done', 'failed', 'cancelled')),
    message text,
    rows_done bigint NOT NULL DEFAULT 0,
    rows_failed bigint NOT NULL DEFAULT 0,
    runner integer,
    created timestamptz NOT NULL DEFAULT now(),
    updated timestamptz NOT NULL DEFAULT now(),
    UNIQUE (owner, target));
COMMENT ON TABLE llm_jobs IS 'Jobs of llm_submit; set state to cancelled to end one';
SELECT pg_catalog.pg_extension_config_dump('llm_jobs', '');
SELECT pg_catalog.pg_extension_config_dump('llm_jobs_id_seq', '');
ALTER TABLE llm_jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_jobs ON llm_jobs USING (owner = current_user);
GRANT SELECT, INSERT, UPDATE, DELETE ON llm_jobs TO PUBLIC;

CREATE FUNCTION llm_start(job bigint) RETURNS boolean
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION llm_start IS 'A background worker for a job, once this transaction has committed; false if none is free';

CREATE FUNCTION llm_submit(service text, query text, target text, options jsonb DEFAULT '{}') RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET client_min_messages = warning AS $$
DECLARE
    job @extschema@.llm_jobs;
    place text := array_to_string(ARRAY(SELECT quote_ident(part) FROM unnest(parse_ident(llm_submit.target))
                                        WITH ORDINALITY AS parts(part, number) ORDER BY number), '.');
BEGIN
    EXECUTE format('CREATE TABLE IF NOT EXISTS %s(key text PRIMARY KEY, value text, status text, error_code text, error text, '
                   'finish_reason text, prompt_tokens bigint, completion_tokens bigint, latency_ms bigint, attempts integer)', place);
    SELECT * INTO job FROM @extschema@.llm_jobs AS known WHERE known.owner = current_user AND known.target = place FOR UPDATE;
    IF job.id IS NULL THEN
        INSERT INTO @extschema@.llm_jobs(service, query, target, options)
            VALUES (llm_submit.service, llm_submit.query, place, llm_submit.options) RETURNING * INTO job;
    ELSIF (job.service, job.query, job.options) IS DISTINCT FROM (llm_submit.service, llm_submit.query, llm_submit.options) THEN
        RAISE EXCEPTION 'llm_submit: % belongs to job % with another service, query or options', place, job.id
            USING HINT = 'Delete that from llm_jobs, or choose another target.';
    ELSE
        UPDATE @extschema@.llm_jobs AS known SET state = 'submitted', message = NULL, updated = now(),
            search_path = current_setting('search_path') WHERE known.id = job.id;
    END IF;
    IF NOT @extschema@.llm_start(job.id) THEN
        RAISE WARNING 'llm_submit: no background worker is free for job %', job.id
            USING HINT = format('CALL llm_run(%s), or raise max_worker_processes.', job.id);
    END IF;
    RETURN job.id;
END $$;
COMMENT ON FUNCTION llm_submit IS 'Begins a job, or goes on with it; its answers go to the target';

-- One transaction's worth of a job; false when there is nothing left to do. Its query runs with the rights of whoever runs the step, so
-- that nobody but its owner may: a superuser sees everybody's jobs.
CREATE FUNCTION llm_job_step(job bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE AS $$
DECLARE
    this @extschema@.llm_jobs;
    rows_asked bigint := 0;
    rows_bad bigint := 0;
    round_asked bigint;
    round_bad bigint;
    lost text[]; -- keys of the round before
    tells_lost boolean := false;
    options jsonb;
    hides_errors boolean;
    path_before text := current_setting('search_path');
    fault text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('tenon.llm_jobs'), job::integer) THEN
        RETURN false; -- another runner has it
    END IF;
    SELECT * INTO this FROM @extschema@.llm_jobs AS known WHERE known.id = job AND known.state IN ('submitted', 'running');
    IF this.id IS NULL THEN
        RETURN false;
    END IF;
    IF this.owner <> current_user THEN
        RAISE EXCEPTION 'llm_run: job % belongs to %, whose query nobody else runs', job, this.owner
            USING ERRCODE = 'insufficient_privilege', HINT = format('SET ROLE %I;', this.owner);
    END IF;
    IF this.state = 'submitted' OR this.runner IS DISTINCT FROM pg_backend_pid() THEN -- a first step says who runs the job
        UPDATE @extschema@.llm_jobs AS known SET state = 'running', runner = pg_backend_pid(), updated = now()
            WHERE known.id = job AND known.state IN ('submitted', 'running');
        RETURN FOUND;
    END IF;
    BEGIN
        PERFORM set_config('search_path', this.search_path, true);
        hides_errors := coalesce(this.options ->> 'on_error' = 'null', false);
        options := this.options || CASE WHEN hides_errors THEN '{"on_error": "detail"}' ELSE '{}' END::jsonb;
        -- A row whose connection broke has no answer, and is asked again in a further round, until a round brings no other answers. The
        -- first rows of such a round were bad ones before: no breaker.
        LOOP
            EXECUTE format('WITH "of llm_map" AS MATERIALIZED (SELECT * FROM @extschema@.llm_map($1, $2, $3)), ' -- no target's name
                           'answers AS (INSERT INTO %s SELECT key, value, status, CASE WHEN NOT $5 THEN error_code END, '
                           'CASE WHEN NOT $5 THEN error END, finish_reason, prompt_tokens, completion_tokens, latency_ms, attempts '
                           'FROM "of llm_map" WHERE $4 OR error_code IS DISTINCT FROM ''connection_lost'' RETURNING status) '
                           'SELECT count(*), count(*) FILTER (WHERE status = ''error''), (SELECT array_agg(format(''%%s'', key)) '
                           'FROM "of llm_map" WHERE NOT $4 AND error_code = ''connection_lost'') FROM answers', this.target)
                INTO round_asked, round_bad, lost
                USING this.service,
                      format(E'SELECT * FROM (%s\n) AS asked(key, prompt) WHERE NOT EXISTS '
                             '(SELECT FROM %s AS answered WHERE answered.key = format(''%%s'', asked.key))%s LIMIT 1024',
                             rtrim(this.query, E'; \t\r\n'), this.target,
                             CASE WHEN lost IS NOT NULL THEN format(' AND format(''%%s'', asked.key) = ANY (%L)', lost) END),
                      options, tells_lost, hides_errors;
            rows_asked := rows_asked + round_asked;
            rows_bad := rows_bad + round_bad;
            EXIT WHEN lost IS NULL;
            tells_lost := round_asked = 0;
            options := options || '{"breaker": false}';
        END LOOP;
        PERFORM set_config('search_path', path_before, true);
    EXCEPTION WHEN OTHERS THEN
        fault := SQLERRM;
    END;
    UPDATE @extschema@.llm_jobs AS known SET
            state = CASE WHEN fault IS NOT NULL THEN 'failed' WHEN rows_asked = 0 THEN 'done' ELSE 'running' END,
            message = fault, rows_done = rows_done + rows_asked, rows_failed = rows_failed + rows_bad, updated = now(),
            runner = CASE WHEN fault IS NULL AND rows_asked > 0 THEN runner END
        WHERE known.id = job AND known.state = 'running'; -- unless it was cancelled meanwhile
    RETURN FOUND AND fault IS NULL AND rows_asked > 0;
END $$;

CREATE PROCEDURE llm_run(job bigint) LANGUAGE plpgsql AS $$
BEGIN
    WHILE @extschema@.llm_job_step(job) LOOP
        COMMIT;
    END LOOP;
    COMMIT;
END $$;
COMMENT ON PROCEDURE llm_run IS 'Runs a submitted job to its end, here and now';
