/* job.c: the background worker of a job: it waits for the transaction that submitted it, then takes one step after
 * another, each a transaction of its own, as the submitting user. A worker that dies leaves a job that llm_submit or
 * llm_run goes on with.
 */
#include "client.h"

#include <access/xact.h>
#include <executor/spi.h>
#include <fmgr.h>
#include <miscadmin.h>
#include <pgstat.h>
#include <postmaster/bgworker.h>
#include <storage/ipc.h>
#include <storage/lmgr.h>
#include <tcop/tcopprot.h>
#include <utils/builtins.h>
#include <utils/lsyscache.h>
#include <utils/snapmgr.h>

typedef struct job_start {
    int64 job;
    Oid database, user;
    TransactionId submitter;
    NameData schema; /* where the extension's functions are */
} job_start;

_Static_assert(sizeof(job_start) <= BGW_EXTRALEN, "a worker's start must fit its registration");

PG_FUNCTION_INFO_V1(llm_start);

PGDLLEXPORT void tenon_job_main(Datum argument);

PGDLLEXPORT Datum llm_start(PG_FUNCTION_ARGS)
{
    BackgroundWorker worker = {.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
                               .bgw_start_time = BgWorkerStart_RecoveryFinished,
                               .bgw_restart_time = BGW_NEVER_RESTART};
    job_start start = {
        .job = PG_GETARG_INT64(0), .database = MyDatabaseId, .user = GetUserId(), .submitter = GetTopTransactionId()};

    namestrcpy(&start.schema, get_namespace_name(get_func_namespace(fcinfo->flinfo->fn_oid)));
    snprintf(worker.bgw_name, BGW_MAXLEN, "tenon job " INT64_FORMAT, start.job);
    snprintf(worker.bgw_type, BGW_MAXLEN, "tenon job");
    snprintf(worker.bgw_library_name, BGW_MAXLEN, "tenon_postgres");
    snprintf(worker.bgw_function_name, BGW_MAXLEN, "tenon_job_main");
    memcpy(worker.bgw_extra, &start, sizeof start);
    PG_RETURN_BOOL(RegisterDynamicBackgroundWorker(&worker, NULL));
}

static void begin(void)
{
    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
    PushActiveSnapshot(GetTransactionSnapshot());
}

static void end(void)
{
    PopActiveSnapshot();
    CommitTransactionCommand();
    pgstat_report_stat(true);
}

/* Whether there is more to do. */
static bool take_step(const job_start *start)
{
    char sql[NAMEDATALEN * 2 + 128];
    bool is_null = true, more = false;

    begin();
    snprintf(sql, sizeof sql, "SELECT %s.llm_job_step(" INT64_FORMAT ")", quote_identifier(NameStr(start->schema)),
             start->job);
    pgstat_report_activity(STATE_RUNNING, sql);
    SPI_connect();
    if (SPI_execute(sql, false, 1) == SPI_OK_SELECT && SPI_processed == 1)
        more = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null)) && !is_null;
    SPI_finish();
    end();
    pgstat_report_activity(STATE_IDLE, NULL);
    return more;
}

PGDLLEXPORT void tenon_job_main(Datum argument)
{
    job_start start;

    (void)argument;
    memcpy(&start, MyBgworkerEntry->bgw_extra, sizeof start);
    pqsignal(SIGTERM, die);
    BackgroundWorkerUnblockSignals();
    BackgroundWorkerInitializeConnectionByOid(start.database, start.user, 0);
    begin();
    XactLockTableWait(start.submitter, NULL, NULL, XLTW_None);
    end();
    while (take_step(&start))
        CHECK_FOR_INTERRUPTS();
}
