/* sdk/client/answer_text.h: what a SQL function returns of an answer, as text. All texts are malloc'd and end with NUL;
 * NULL says that the answer is not of the kind that was asked for, or that memory is out. */
#ifndef CLIENT_ANSWER_TEXT_H
#define CLIENT_ANSWER_TEXT_H

#include "client/answer.h"

typedef char *answer_writer(const client_answer *answer);

answer_writer answer_text_value;     /* the text */
answer_writer answer_text_object;    /* the server's whole object, JSON */
answer_writer answer_text_json;      /* the text, if it is JSON */
answer_writer answer_text_count;     /* of /tokenize */
answer_writer answer_text_embedding; /* a JSON list of numbers */
/* {"value", "error", "code", "finish_reason", "usage"} of an answer or of a row's error. */
answer_writer answer_text_try;

#endif
