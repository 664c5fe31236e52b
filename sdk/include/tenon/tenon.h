/* tenon/tenon.h: the whole Tenon ABI. Include single headers where less will do. */
#ifndef TENON_TENON_H
#define TENON_TENON_H

#include "tenon/admin.h"
#include "tenon/auth.h"
#include "tenon/backend.h"
#include "tenon/chat.h"
#include "tenon/embed.h"
#include "tenon/engine.h"
#include "tenon/frontend.h"
#include "tenon/models.h"
#include "tenon/ops.h"
#include "tenon/plugin.h"
#include "tenon/quant.h"
#include "tenon/rendezvous.h"
#include "tenon/stats.h"
#include "tenon/tokenizer.h"

#endif
