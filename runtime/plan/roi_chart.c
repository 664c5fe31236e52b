/* roi_chart.c: see roi_chart.h. Both pictures share one frame: volume from zero to a little beyond what matters. */
#include "plan/roi_chart.h"

#include <math.h>
#include <string.h>

enum { COLUMNS = 60, ROWS = 14, LABEL = 11 };
enum { WIDTH = 640, HEIGHT = 360, LEFT = 90, RIGHT = 20, TOP = 40, BOTTOM = 60 };

/* ---- numbers ---- */

char *roi_format_volume(double millions, char text[24])
{
    static const char *const units[] = {"M", "G", "T", "P"};
    int unit = 0;
    for (; millions >= 1000 && unit < 3; unit++)
        millions /= 1000;
    snprintf(text, 24,
             millions < 10    ? "%.2f %s"
             : millions < 100 ? "%.1f %s"
             : millions < 1e6 ? "%.0f %s"
                              : "%.3g %s",
             millions, units[unit]);
    return text;
}

char *roi_format_money(double amount, char text[40])
{
    char digits[32];
    snprintf(digits, sizeof digits, "%.2f", fmin(fabs(amount), 1e21));
    size_t whole = strcspn(digits, "."), used = 0;
    if (amount < 0)
        text[used++] = '-';
    for (size_t i = 0; i < whole; i++) {
        if (i > 0 && (whole - i) % 3 == 0)
            text[used++] = ',';
        text[used++] = digits[i];
    }
    memcpy(text + used, digits + whole, strlen(digits + whole) + 1);
    return text;
}

/* ---- the frame ---- */

typedef struct frame {
    double volume_max, cost_max;
} frame;

static frame frame_of(const roi *roi)
{
    double seen = roi->reachable ? 1.5 * roi->break_even : 2 * roi->capacity;
    frame f = {.volume_max = fmax(seen, 1.2 * roi->volume)};
    if (f.volume_max <= 0)
        f.volume_max = 2 * roi->capacity;
    f.cost_max = 1.1 * fmax(roi_cost_here(roi, f.volume_max), roi_cost_elsewhere(roi, f.volume_max));
    if (f.cost_max <= 0)
        f.cost_max = 1;
    return f;
}

/* ---- for a terminal ---- */

static int row_of(const frame *f, double cost)
{
    return (int)lround((ROWS - 1) * (1 - cost / f->cost_max));
}

static void draw(char grid[ROWS][COLUMNS + 1], const roi *roi, const frame *f)
{
    for (int x = 0; x < COLUMNS; x++) {
        double volume = f->volume_max * x / (COLUMNS - 1);
        int elsewhere = row_of(f, roi_cost_elsewhere(roi, volume)), here = row_of(f, roi_cost_here(roi, volume));
        grid[elsewhere][x] = '/';
        grid[here][x] = elsewhere == here ? '+' : '=';
    }
}

void roi_chart_print(const roi *roi, FILE *out)
{
    const frame f = frame_of(roi);
    char grid[ROWS][COLUMNS + 1], text[40], volume[24];

    for (int y = 0; y < ROWS; y++) {
        memset(grid[y], ' ', COLUMNS);
        grid[y][COLUMNS] = '\0';
    }
    draw(grid, roi, &f);
    fprintf(out, "cost of a month, %s:  = pool %s   / elsewhere\n", roi->currency, roi->pool);
    for (int y = 0; y < ROWS; y++) {
        bool labelled = y == 0 || y == ROWS - 1;
        int end = COLUMNS;
        while (end > 0 && grid[y][end - 1] == ' ')
            end--;
        double cost = f.cost_max * (ROWS - 1 - y) / (ROWS - 1);
        fprintf(out, "%*s |%.*s\n", LABEL, labelled ? roi_format_money(cost, text) : "", end, grid[y]);
    }
    fprintf(out, "%*s +%.*s\n", LABEL, "", COLUMNS, "------------------------------------------------------------");
    fprintf(out, "%*s  0%*s tokens a month\n", LABEL, "", COLUMNS - 16, roi_format_volume(f.volume_max, volume));
}

/* ---- SVG ---- */

static void put_escaped(const char *text, FILE *out)
{
    for (; *text; text++) {
        const char *entity = *text == '&' ? "&amp;" : *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : NULL;
        if (entity)
            fputs(entity, out);
        else
            fputc(*text, out);
    }
}

static double x_of(const frame *f, double volume)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * volume / f->volume_max;
}

static double y_of(const frame *f, double cost)
{
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * cost / f->cost_max;
}

static void put_label(FILE *out, double x, double y, const char *anchor, const char *text)
{
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    put_escaped(text, out);
    fputs("</text>\n", out);
}

/* The smallest of 1, 2, 5, 10, 20, ... of which five steps reach `most`. */
static double round_step(double most)
{
    double power = pow(10, floor(log10(most / 5)));
    double steps = most / 5 / power;
    return (steps <= 1 ? 1 : steps <= 2 ? 2 : steps <= 5 ? 5 : 10) * power;
}

static void put_axes(const roi *roi, const frame *f, FILE *out)
{
    char text[128], number[40], volume[24];
    const double cost_step = round_step(f->cost_max), volume_step = round_step(f->volume_max);

    fprintf(out, "<path d=\"M%d %d V%d H%d\" fill=\"none\" stroke=\"#888\"/>\n", LEFT, TOP, HEIGHT - BOTTOM,
            WIDTH - RIGHT);
    for (int i = 0; i * cost_step <= f->cost_max; i++)
        put_label(out, LEFT - 6, y_of(f, i * cost_step) + 4, "end", roi_format_money(i * cost_step, number));
    for (int i = 0; i * volume_step <= f->volume_max; i++)
        put_label(out, x_of(f, i * volume_step), HEIGHT - BOTTOM + 16, "middle",
                  i == 0 ? "0" : roi_format_volume(i * volume_step, volume));
    put_label(out, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 14, "middle", "tokens a month");
    snprintf(text, sizeof text, "%.40s a month", roi->currency);
    put_label(out, LEFT, TOP - 22, "start", text);
}

/* Steps are drawn where they are; more than this many are a line. */
enum { STEPS_MAX = 200 };

static void put_here(const roi *roi, const frame *f, FILE *out)
{
    double pools = roi_pools(roi, f->volume_max);

    fprintf(out, "<path d=\"M%.1f %.1f", x_of(f, 0), y_of(f, roi->pool_cost));
    for (double n = 1; n < pools && pools <= STEPS_MAX; n++)
        fprintf(out, " H%.1f V%.1f", x_of(f, n * roi->capacity), y_of(f, (n + 1) * roi->pool_cost));
    if (pools <= STEPS_MAX)
        fprintf(out, " H%.1f", x_of(f, f->volume_max));
    else
        fprintf(out, " L%.1f %.1f", x_of(f, f->volume_max), y_of(f, pools * roi->pool_cost));
    fputs("\" fill=\"none\" stroke=\"#0b6\" stroke-width=\"2\"/>\n", out);
}

/* Its words stand above the picture: beside the point there is a line wherever they go. */
static void put_break_even(const roi *roi, const frame *f, FILE *out)
{
    char text[128], volume[24];

    if (!isfinite(roi->break_even))
        snprintf(text, sizeof text, "no break-even: elsewhere it costs nothing");
    else
        snprintf(text, sizeof text, "break-even at %s%s", roi_format_volume(roi->break_even, volume),
                 roi->reachable ? "" : ": unreachable, more than the pool's capacity");
    fputs("<g fill=\"#d60\">", out);
    put_label(out, LEFT, TOP - 8, "start", text);
    fputs("</g>\n", out);
    if (roi->reachable)
        fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"#d60\"/>\n", x_of(f, roi->break_even),
                y_of(f, roi->pool_cost));
}

static void put_volume(const roi *roi, const frame *f, FILE *out)
{
    char text[64], volume[24];
    const double x = x_of(f, roi->volume);

    if (roi->volume <= 0)
        return;
    fprintf(out, "<path d=\"M%.1f %d V%d\" stroke=\"#888\" stroke-dasharray=\"4 4\"/>\n", x, TOP, HEIGHT - BOTTOM + 20);
    snprintf(text, sizeof text, "your volume, %s", roi_format_volume(roi->volume, volume));
    put_label(out, x, HEIGHT - BOTTOM + 31, x < LEFT + 60 ? "start" : x > WIDTH - RIGHT - 60 ? "end" : "middle", text);
}

void roi_chart_svg(const roi *roi, FILE *out)
{
    const frame f = frame_of(roi);
    char text[128];

    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
            "font-family=\"sans-serif\" font-size=\"11\" fill=\"#777\" role=\"img\">\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT);
    snprintf(text, sizeof text, "Cost of a month in pool %s and elsewhere, by tokens", roi->pool);
    fputs("<title>", out);
    put_escaped(text, out);
    fputs("</title>\n", out);
    put_axes(roi, &f, out);
    put_here(roi, &f, out);
    fprintf(out, "<path d=\"M%.1f %.1f L%.1f %.1f\" fill=\"none\" stroke=\"#36c\" stroke-width=\"2\"/>\n", x_of(&f, 0),
            y_of(&f, 0), x_of(&f, f.volume_max), y_of(&f, roi_cost_elsewhere(roi, f.volume_max)));
    put_volume(roi, &f, out);
    put_break_even(roi, &f, out);
    snprintf(text, sizeof text, "pool %s%s", roi->pool, roi->throughput.measured ? "" : ", estimated throughput");
    fputs("<g fill=\"#0b6\">", out);
    put_label(out, WIDTH - RIGHT, TOP - 22, "end", text);
    fputs("</g><g fill=\"#36c\">", out);
    put_label(out, WIDTH - RIGHT, TOP - 8, "end", "elsewhere, by the token");
    fputs("</g>\n</svg>\n", out);
}
