/* frame_stats.c: STATS: the number of series, then one after the other. */
#include "base/utf8.h"
#include "base/wire/engine_frame.h"
#include "base/wire/frame_fail.h"

enum { SERIES_TEXT_MAX = 1024 };

static void put_series(wire_writer *writer, const tn_stat *stat)
{
    uint32_t buckets = stat->kind == TN_STAT_HISTOGRAM ? stat->bucket_count : 0;
    TN_ASSERT(buckets <= FRAME_BUCKETS_MAX);
    wire_put32(writer, stat->kind);
    wire_put_text(writer, stat->name);
    wire_put_text(writer, stat->help);
    wire_put32(writer, stat->label != NULL);
    wire_put_text(writer, stat->label);
    wire_put_text(writer, stat->label_value);
    wire_put_double(writer, stat->value);
    wire_put64(writer, stat->count);
    wire_put32(writer, buckets);
    for (uint32_t i = 0; i < buckets; i++)
        wire_put_double(writer, stat->bound[i]);
    for (uint32_t i = 0; i < buckets; i++)
        wire_put64(writer, stat->bucket[i]);
}

tn_status frame_stats_write(wire_buffer *out, const tn_stats_table *stats, tn_engine *engine, tn_error *err)
{
    tn_stat stat = {.struct_size = sizeof stat};
    uint32_t count = 0;

    while (count < FRAME_SERIES_MAX && stats->stat(engine, count, &stat) == TN_OK)
        count++;
    wire_writer writer = wire_begin(out, FRAME_STATS);
    wire_put32(&writer, count);
    for (uint32_t i = 0; i < count; i++) {
        stat = (tn_stat){.struct_size = sizeof stat};
        if (stats->stat(engine, i, &stat) != TN_OK)
            stat = (tn_stat){.kind = TN_STAT_GAUGE, .name = "gone"}; /* the number was told already */
        put_series(&writer, &stat);
    }
    return wire_end(&writer, err);
}

tn_status frame_stats_read(const uint8_t *frame, size_t n, wire_reader *ret_reader, uint32_t *ret_count, tn_error *err)
{
    if (n == 0 || frame[0] != FRAME_STATS)
        return frame_fail(frame, n, "is not about statistics", err);
    wire_reader reader = wire_reader_of(frame, n);
    uint32_t count = wire_get32(&reader);
    if (reader.broken || count > FRAME_SERIES_MAX)
        return frame_fail(frame, n, "holds too many series", err);
    *ret_reader = reader;
    *ret_count = count;
    return TN_OK;
}

static bool is_name(wire_blob blob)
{
    return utf8_is_valid(blob.bytes, blob.n) && !memchr(blob.bytes, '\0', blob.n);
}

tn_status frame_series_read(wire_reader *reader, frame_series *ret_series, tn_error *err)
{
    frame_series series = {.kind = wire_get32(reader)};
    series.name = wire_get_blob(reader, SERIES_TEXT_MAX);
    series.help = wire_get_blob(reader, SERIES_TEXT_MAX);
    series.has_label = wire_get32(reader) != 0;
    series.label = wire_get_blob(reader, SERIES_TEXT_MAX);
    series.label_value = wire_get_blob(reader, SERIES_TEXT_MAX);
    series.value = wire_get_double(reader);
    series.count = wire_get64(reader);
    series.bucket_count = wire_get32(reader);
    if (series.bucket_count > FRAME_BUCKETS_MAX)
        reader->broken = true;
    series.bound = wire_get_array(reader, series.bucket_count, 8);
    series.bucket = wire_get_array(reader, series.bucket_count, 8);
    if (reader->broken || series.kind < TN_STAT_COUNTER || series.kind > TN_STAT_HISTOGRAM || series.name.n == 0 ||
        !is_name(series.name) || !is_name(series.help) || !is_name(series.label) || !is_name(series.label_value))
        return tn_fail(err, TN_E_CORRUPT, "a frame of statistics holds a series that is none");
    *ret_series = series;
    return TN_OK;
}
