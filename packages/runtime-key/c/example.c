/* Says which key_id arrived, and the sum of the key's bytes, which is enough to compare and reveals nothing. */
#include "keyturn_runtime_key.h"

int main(int argc, char **argv) {
  struct ktrk_key key;
  unsigned sum = 0, verifier_sum = 0;
  int i, status = ktrk_receive(&key, argc, argv);
  if (status != KTRK_OK) {
    printf("%s\n", ktrk_code(status));
    return 4;
  }
  for (i = 0; i < KTRK_KEY_LENGTH; i++) {
    sum += key.master_key[i] * (unsigned)(i + 1);
    verifier_sum += key.sign_public_key[i] * (unsigned)(i + 1);
  }
  printf("key_id %lu sum %u verifier %u\n", (unsigned long)key.key_id, sum, verifier_sum);
  ktrk_wipe(&key);
  return 0;
}
