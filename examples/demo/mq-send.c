/* The demo's C sender: mq-send QUEUE TEXT */

#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  mqd_t queue = mq_open(argv[1], O_WRONLY);
  if (queue != (mqd_t)-1 && mq_send(queue, argv[2], strlen(argv[2]), 5) == 0) return 0;
  perror(argv[1]);
  return 1;
}
