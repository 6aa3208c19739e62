"""Wrong command lines, as a table: one a line, with the words that the answer must contain after ``#``.

``run`` is a finished run, ``twin`` a copy of it, and ``sick`` a damaged copy. Only ``first.py`` is an experiment.
"""

LINES = r"""
oops                                              # no command 'oops'
statsu run                                        # Did you mean 'status'
--oops                                            # --oops
status                                            # DIR
status ''                                         # it is empty
resume ' '                                        # it is empty
status nowhere                                    # no log in nowhere
status first.py                                   # no log in first.py
status empty                                      # no log in empty
status above                                      # choose one of
status sick                                       # line
status run --task                                 # --task
status run --oops                                 # --oops
status run twin                                   # twin
status s3://bucket/run                            # is a URL
status 'a\x1bb'                                   # control characters
lineage                                           # DIR
lineage nowhere                                   # no log in nowhere
lineage run --task -1                             # task -1
lineage run --task 999                            # task 999
lineage run --task x                              # 'x'
lineage run --task 1.5                            # '1.5'
lineage sick                                      # line
lineage run more                                  # more
schedule                                          # DIR
schedule nowhere                                  # no log in nowhere
schedule run --task 999                           # task 999
schedule run --task ''                            # --task
schedule run --csv --json                         # exclude each other
schedule run --cvs                                # --cvs
schedule sick                                     # line
verify                                            # DIR
verify nowhere                                    # no log in nowhere
verify empty                                      # no log in empty
verify run --experiment                           # --experiment
verify run --experiment nothing.py                # no experiment file 'nothing.py'
verify run --experiment fist.py                   # Did you mean 'first.py'
verify run --experiment empty                     # is not an experiment file
verify run --experiment notes.txt                 # is not an experiment file
verify run --experiment syntax.py                 # syntax.py:2
verify run --experiment raises.py                 # a planted error
verify run --experiment none.py                   # has no `experiment`
verify run --experiment first.py --log-only       # exclude each other
verify run --experiment run/trap.py               # inside the run directory
verify run --only-log                             # --only-log
resume                                            # DIR
resume nowhere                                    # no log in nowhere
resume empty                                      # no log in empty
resume sick                                       # line
resume run --steps 0 --experiment first.py        # steps(0)
resume run --steps -5 --experiment first.py       # steps(-5)
resume run --steps x                              # 'x'
resume run --steps 1e3                            # '1e3'
resume run --steps 99999999999999999999 --experiment first.py # 2**53
resume run --executor process --experiment first.py # Did you mean 'processes'
resume run --executor '' --experiment first.py    # executor=''
resume run --experiment other.py                  # holds another run
resume run --experiment nothing.py                # no experiment file
resume run --experiment run/trap.py               # inside the run directory
resume run --experiment syntax.py                 # syntax.py:2
resume run --seed 3                               # --seed
resume run                                        # have not started
run                                               # EXPERIMENT.py
run nothing.py                                    # no experiment file 'nothing.py'
run fist.py                                       # Did you mean 'first.py'
run empty                                         # is not an experiment file
run notes.txt                                     # is not an experiment file
run syntax.py                                     # syntax.py:2
run raises.py                                     # a planted error
run exits.py                                      # SystemExit
run none.py                                       # has no `experiment`
run number.py                                     # is int
run twice.py                                      # experiment
run missing.py                                    # no_such_module
run json.py                                       # name of the Python module
run wrong.py                                      # population=0
run loops.py                                      # RecursionError
run lines.py                                      # ValueError
run unshown.py                                    # cannot be shown
run first.py --dir run/sub                        # inside the run directory
run first.py --dir run/checkpoints                # inside the run directory
run first.py --dir run/../run                     # already contains a run
run first.py --seed ''                            # --seed
run first.py --dir /dev/null/x                    # Not a directory
run first.py second.py                            # second.py
run first.py --dir run                            # already contains a run
run first.py --dir first.py                       # is a file
run first.py --dir notes.txt/run                  # notes.txt
run first.py --dir s3://bucket/run                # is a URL
run first.py --dir gs://bucket                    # is a URL
run first.py --dir 'a\x1bb'                       # control characters
run first.py --dir                                # --dir
run first.py --seed -1                            # seed=-1
run first.py --seed x                             # 'x'
run first.py --seed 1.5                           # '1.5'
run first.py --steps 0                            # steps(0)
run first.py --steps -1                           # steps(-1)
run first.py --steps many                         # 'many'
run first.py --executor gpu                       # executor='gpu'
run first.py --executor vectorised                # Did you mean 'vectorized'
run first.py --checkpoints bucket                 # checkpoints='bucket'
run first.py --checkpoints ''                     # checkpoints=''
run first.py --args "--x 'unfinished"             # --args
run first.py --oops                               # --oops
run first.py --step 5 --steps                     # --step
check                                             # EXPERIMENT.py
check nothing.py                                  # no experiment file
check empty                                       # is not an experiment file
check syntax.py                                   # syntax.py:2
check first.py --seconds 0                        # seconds=0
check first.py --seconds -3                       # seconds=-3
check first.py --seconds nan                      # seconds=nan
check first.py --seconds soon                     # 'soon'
check first.py --steps 0                          # steps(0)
check first.py --executor gpu                     # executor='gpu'
check first.py --dir s3://bucket                  # is a URL
check first.py --args "'"                         # --args
replay                                            # nothing to replay
replay nowhere                                    # no log in nowhere
replay run --experiment nothing.py                # no experiment file
replay run --task 999 --experiment first.py       # task 999
replay run --steps 0 --experiment first.py        # steps(0)
replay run --steps 40 --experiment first.py       # --fit stretch
replay run --fit bend --steps 40 --experiment first.py # 'stretch' or 'hold'
replay run --interval 0 --experiment first.py     # interval=0
replay run --seed -1 --experiment first.py        # seed=-1
replay run --worth 1 --experiment first.py        # 1
replay run --worth x                              # 'x'
replay run --worth 99999999999 --experiment first.py # at most
replay run --dir run --experiment first.py        # already contains a run
replay run --dir s3://bucket --experiment first.py # is a URL
replay run --experiment run/trap.py               # inside the run directory
replay run                                        # have not started
replay --schedule nothing.json --experiment first.py # does not exist
replay --schedule notes.txt --experiment first.py # is not a schedule
replay --schedule first.py --experiment first.py  # is not a schedule
replay --schedule empty --experiment first.py     # does not exist
replay run --schedule notes.txt --task 3          # leave one out
replay sick --experiment first.py                 # line
compare                                           # compare
compare run                                       # at least 2
compare run nowhere                               # nowhere
compare run empty                                 # empty
compare run sick                                  # line
compare run twin --plot x.doc                     # .png
compare run twin --plot nowhere/x.png             # cannot write
compare run twin --plot run/x.png                 # inside the run directory
compare run twin --oops                           # --oops
plot                                              # DIR
plot nowhere                                      # no log in nowhere
plot sick                                         # line
plot run --faster 0                               # --faster
plot run --faster 0 9                             # 9
plot run --faster a b                             # 'a'
plot run --faster 0 0                             # 0
plot run --step 5                                 # --faster
plot run --out notes.txt                          # cannot write
plot run --out run                                # inside the run directory
plot run --out run/plots                          # inside the run directory
plot run --out notes.txt/x                        # cannot write
report                                            # DIR
report nowhere                                    # no log in nowhere
report sick                                       # line
report run --out run/x.html                       # inside the run directory
report run --out nowhere/x.html                   # cannot write
report run --out empty                            # cannot write
report run --out notes.txt/x.html                 # cannot write
dashboard notes.txt                               # is a file
dashboard run --port -1                           # -1
dashboard run --port 99999                        # 99999
dashboard run --port x                            # 'x'
export                                            # DIR
export run                                        # nothing to export
export nowhere --table t.csv                      # no log in nowhere
export sick --table t.csv                         # line
export run --table notes.txt                      # exists already
export run --table empty                          # exists already
export run --table nowhere/t.csv                  # cannot export
export run --table notes.txt/t.csv                # notes.txt
export run --best notes.txt                       # exists already
export run --best above                           # exists already
export run --best notes.txt/b                     # notes.txt
export run --final                                # --best
export run --source first.py                      # --video
export run --video v.gif --source nothing.py      # no experiment file
export run --video v.gif --source run/trap.py     # inside the run directory
export run --video v.gif --source first.py        # cannot be drawn
export run --video v.gif                          # have not started
export run --to wandb                             # expected mlflow or tensorboard
export run --to mlflw                             # Did you mean 'mlflow'
export run --out tb                               # --to tensorboard
export run --uri http://x                         # --to mlflow
export run --to tensorboard --run-id 5            # --to mlflow
export run --table                                # --table
mcp nowhere                                       # nowhere
mcp notes.txt                                     # notes.txt
mcp --allow                                       # --allow
"""

CASES = [tuple(part.strip() for part in line.rsplit(" # ", 1)) for line in LINES.strip().splitlines()]
