#!/bin/bash
# Makes the repository in the state the report describes: two commits of Ida's
# are reachable from the reflog alone, and one of Robin's came after the reset.
set -euo pipefail

git init --quiet --initial-branch=main
printf 'history.sh\n' >> .git/info/exclude

day=9
commit() { # author, message
  local first=${1%% *}
  day=$((day + 1))
  git add --all
  GIT_AUTHOR_NAME=$1 GIT_AUTHOR_EMAIL="${first,,}@fieldnotes.example" \
    GIT_AUTHOR_DATE="2024-05-${day}T09:00:00+0000" GIT_COMMITTER_DATE="2024-05-${day}T09:00:00+0000" \
    git commit --quiet --message "$2"
}

mkdir notes
printf '# Field notes\n\nOne file for each site in `notes/`, listed in `index.txt`.\n' > README.md
printf 'marsh\n' > index.txt
printf 'site: marsh\n2024-05-10 heron 2\n' > notes/marsh.txt
commit 'Robin Teal' 'Start the notes with the marsh'

printf 'marsh\nmeadow\n' > index.txt
printf 'site: meadow\n2024-05-11 lark 5\n' > notes/meadow.txt
commit 'Robin Teal' 'Add the meadow'

printf '2024-05-12 heron 3\n' >> notes/marsh.txt
commit 'Ida Plover' 'Count the herons again'

printf 'marsh\nmeadow\nquarry\n' > index.txt
printf 'site: quarry\n2024-05-13 swift 11\n' > notes/quarry.txt
commit 'Ida Plover' 'Add the quarry'

git reset --quiet --hard HEAD~2
printf '2024-05-14 lark 4\n2024-05-14 bunting 1\n' >> notes/meadow.txt
commit 'Robin Teal' 'Meadow, second visit'
