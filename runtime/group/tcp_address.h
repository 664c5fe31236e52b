/* runtime/group/tcp_address.h: "host:port" or "[v6]:port" to socket addresses, and back for messages. */
#ifndef GROUP_TCP_ADDRESS_H
#define GROUP_TCP_ADDRESS_H

#include "tenon/error.h"

#include <netdb.h>
#include <stdbool.h>

/* Free with freeaddrinfo. TN_E_ARGUMENT: not of that form; TN_E_NOT_FOUND: the name does not resolve (yet). [any] */
tn_status tcp_address_resolve(const char *address, struct addrinfo **ret_list, tn_error *err);
/* Whether only this machine reaches it. */
bool tcp_address_is_loopback(const struct sockaddr *address);
/* Numeric, without the port. */
void tcp_address_text(const struct sockaddr *address, socklen_t n, char out[NI_MAXHOST]);
/* A socket that listens there and does not block in accept; -1, with errno. */
int tcp_address_listen(const struct sockaddr *address, socklen_t n);
/* Lets a connected socket fail within TCP_ADDRESS_SILENCE_MS when the other machine is gone without a word. */
enum { TCP_ADDRESS_SILENCE_MS = 30000 };
void tcp_address_watch(int fd);

#endif
