#include <kdn/kdn.h>
#include <stdio.h>
#include <string.h>

/* Opens a client where there is no cluster, which must work. */
int main(void) {
  const uint8_t secret[32] = {1};
  kdn_client_options options;
  memset(&options, 0, sizeof(options));
  options.struct_size = sizeof(options);
  options.coordinator = "127.0.0.1:1";
  options.tenant_id = 1;
  options.chunk_secret = secret;
  options.chunk_secret_size = sizeof(secret);
  kdn_client* client = NULL;
  if (kdn_client_open(&options, &client) != 0) {
    fprintf(stderr, "%s\n", kdn_last_error());
    return 1;
  }
  kdn_client_close(client);
  puts(kdn_version());
  return 0;
}
