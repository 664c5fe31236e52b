/* runtime/plan/roi_chart.h: cost of a month against volume, here and elsewhere, for a terminal and as SVG. */
#ifndef PLAN_ROI_CHART_H
#define PLAN_ROI_CHART_H

#include "plan/roi.h"

#include <stdio.h>

/* 72 columns by 16 lines of ASCII. */
void roi_chart_print(const roi *roi, FILE *out);
/* A small picture, plain SVG 1.1: lines, text and a title, no script. The caller checks out for errors. */
void roi_chart_svg(const roi *roi, FILE *out);
/* "12.3 M", "4.56 G": millions of tokens for people; text holds 24 bytes. Returns text. */
char *roi_format_volume(double millions, char text[24]);
/* "1,234,567.89"; text holds 40 bytes. Returns text. */
char *roi_format_money(double amount, char text[40]);

#endif
