#!/bin/sh
# Fetches the AWS Lambda runtime interface emulator and prints where it is.
#
#   tests/peers/rie.sh DIR     DIR: kept there, and used again
#
# It lies in the package aws-sam-cli; nothing of that is installed. CELLMILL_TEST_RIE names another one.
set -eu
version=1.170.0
rie=$1/aws-lambda-rie-$version
if [ ! -x "$rie" ]; then
    case $(uname -m) in
        x86_64 | amd64) name=aws-lambda-rie-x86_64 ;;
        aarch64 | arm64) name=aws-lambda-rie-arm64 ;;
        *)
            echo "there is no runtime interface emulator for $(uname -m)" >&2
            exit 1
            ;;
    esac
    mkdir -p "$1"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$1" "aws-sam-cli==$version" >&2 || {
        echo "the runtime interface emulator could not be fetched: set CELLMILL_TEST_RIE to one" >&2
        exit 1
    }
    python3 - "$1"/aws_sam_cli-"$version"-*.whl "samcli/local/rapid/$name" "$rie" << 'EOF' >&2
import sys, zipfile
wheel, name, out = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive, open(out, "wb") as file:
    file.write(archive.read(name))
EOF
    chmod +x "$rie"
    rm -f "$1"/aws_sam_cli-"$version"-*.whl
fi
echo "$rie"
