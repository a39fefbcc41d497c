#!/bin/sh
echo "content key $M2PACK_KEY_ID"
