"""The console program's help texts (host); kept apart from the code that they describe, so that help loads nothing."""

PROGRAM = """\
curriculum-rec: curriculum and progressive training of recommender systems

usage: curriculum-rec COMMAND [OPTION=VALUE ...]

commands:
  train       train an experiment and leave a run directory
  resume      go on with a run that was interrupted, to the same bits
  evaluate    rank the targets of a run's test or validation split again
  recommend   write the top items of a run's users to a file
  inspect     draw what runs trained when, and what came of it
  audit       compare what is taken for hard, by itself and with what is known to be wrong

  curriculum-rec COMMAND --help   explains a command's options
  curriculum-rec --version        prints the version

first steps:
  curriculum-rec train experiment=quickstart
  curriculum-rec recommend run=runs/quickstart/... k=10 output=top.csv

exit codes: 0 done; 2 something you can mend (one sentence says what); 130 interrupted, can be resumed
"""

TRAIN = """\
usage: curriculum-rec train [experiment=NAME] [GROUP=CHOICE ...] [OPTION=VALUE ...]

Trains a recommender and leaves a run directory: config.yaml, metrics.jsonl, summary.json, checkpoints/, evaluation/.

groups (curriculum-rec train --info defaults-tree shows what is chosen, --cfg job every option and its value):
  experiment    quickstart, and what lies in ./experiments/experiment/
  data          online_retail (in the package), sequences, table
  model         sasrec, dnn
  objective     softmax, sampled_softmax, bce
  optimizer     adamw
  curriculum    none, or by difficulty: length, user_activity, popularity, sequence_rarity, transition_surprisal,
                time_gap, history_distance, history_entropy, loss (ordered: the one that curriculum/difficulty names)
                curriculum/pacing=linear|polynomial|root|step|exponential|logarithmic|competence|geometric|cosine|
                                  staircase|baby_step|one_pass|plateau|constant
                curriculum/sampler=prefix|prefix_with_replacement|soft_prefix|boltzmann|stratified|replay|
                                   importance_corrected|pruned
                curriculum.order=curriculum|anti|random   (random is the control with the same pacing)
                curriculum.unit=sequence|target
  weighting     none, self_paced_hard, self_paced_linear, self_paced_logarithmic, self_paced_mixture,
                self_paced_polynomial, self_paced_logistic, super_loss, focal, generalised_cross_entropy, truncated
  growth        none, interleave, stack
  stages        single, grow_2_4   (stages.NAME.epochs=, .steps=, .depth=, .patience=, .warm_start=RUN)
  placement     auto, jit, pmap, shard_map
  evaluation    full_ranking
  hydra/launcher   where the runs of a sweep go: basic (one after the other, here), joblib_local, slurm, ray_local

options:
  run_dir=DIR             where the run is kept (default runs/NAME/DATE_TIME)
  on_existing=refuse      what to do if run_dir holds a run: refuse, replace or resume
  seed=0                  decides everything random
  checkpoint_every_steps= steps between checkpoints besides those at evaluations
  precision=float32       what the model computes in; bfloat16 where the device is made for it
  accumulate=1            cut each device's share of a batch into so many parts, for memory
  distributed=            env, slurm or auto: this is one process of a run on several hosts (needs run_dir)
  profile=false           true traces a few chunks of every stage and writes profile/STAGE/breakdown.txt
  compilation_cache=DIR   where compiled programs lie for later runs (default ~/.cache/curriculum_rec); null for none
  progress=true           false prints only the result (as do runs beside each other, unless it is asked for)
  trusted_packages=[]     your own packages that _target_ may name

examples:
  curriculum-rec train experiment=quickstart
  curriculum-rec train data=sequences data.path=histories.txt curriculum=length stages.train.epochs=30
  curriculum-rec train data=table data.path=log.csv data.user=customer data.item=sku data.timestamp=time
  curriculum-rec train -m curriculum=none,length,popularity seed=0,1      (a sweep: one run a combination)
  curriculum-rec train -m seed=0,1,2,3 hydra/launcher=joblib_local        (its runs two at a time)
  curriculum-rec train experiment=quickstart --cfg job                    (print the configuration, do nothing)
"""

RESUME = """\
usage: curriculum-rec resume run=DIR [OPTION=VALUE ...]

Goes on with an interrupted run from its newest good checkpoint. Configuration and data must be what they were. On a
CPU the metrics and the final parameters are the same, bit for bit, as those of a run that was never interrupted. The
number of hosts may be another; sums then differ by rounding.

options:
  progress=true           false prints only the result
  distributed=            env, slurm or auto: this is one process of a run on several hosts
  compilation_cache=DIR   where compiled programs lie (default ~/.cache/curriculum_rec); null for none
  trusted_packages=[]     your own packages that the run's configuration may name
"""

EVALUATE = """\
usage: curriculum-rec evaluate run=DIR [OPTION=VALUE ...]

Ranks every target of a split among all items and prints the metrics beside MostPop's.

options:
  split=test              test or validation
  checkpoint=best         best, newest, or a step that has a checkpoint
  k=[5,10,20]             cut-offs (default: the run's own)
  filter_seen=            whether items of the history are no candidates (default: as in the run)
  data_path=FILE          where the run's data file lies now, if it moved
  output=FILE.parquet     write one row a user: rank and metrics
  compilation_cache=DIR   where compiled programs lie (default ~/.cache/curriculum_rec); null for none
  trusted_packages=[]     your own packages that the run's configuration may name
"""

RECOMMEND = """\
usage: curriculum-rec recommend run=DIR [OPTION=VALUE ...]

Writes the items with the highest scores after each user's whole history: columns user, rank, item, score.

options:
  k=10                    items a user
  users=[u1,u2]           original ids (default: all users)
  filter_seen=true        leave out items of the user's history (true even where the run's evaluation kept them)
  checkpoint=best         best, newest, or a step that has a checkpoint
  output=FILE             .parquet, .csv or .jsonl (default: recommendations.parquet in the run directory)
  data_path=FILE          where the run's data file lies now, if it moved
  compilation_cache=DIR   where compiled programs lie (default ~/.cache/curriculum_rec); null for none
  trusted_packages=[]     your own packages that the run's configuration may name
"""

INSPECT = """\
usage: curriculum-rec inspect run=DIR [output=FILE]

Draws which difficulty a run trained when, the available share, losses, validation metric, depth and weights, over
steps. Several runs, finished or not, are drawn side by side on the same axes. Needs the extra "figures".

options:
  run=DIR                 a run, or up to six: run=[A,B]
  output=FILE             .svg, .png, .pdf or .html (default: inspection.svg in the first run's directory)
"""

AUDIT = """\
usage: curriculum-rec audit [experiment=NAME] [GROUP=CHOICE ...] difficulties=[NAME,...] [OPTION=VALUE ...]

Scores all training targets of an experiment and writes a page: rank correlations of the scorers with each other, with
popularity and with length; how well two halves of the seeds of a scorer agree; how probably a scorer ranks what is
known to be wrong as hard; and how each tenth of the difficulty was learnt. Nothing is trained. Groups and options of
the experiment are those of train. Needs the extra "figures".

options:
  difficulties=[NAME,...] choices of curriculum/difficulty; popularity and length always join
  scores=[FILE,...]       Parquet files of the columns user, item, position and score, position being the place in the
                          user's whole history from 0; a folder holds one file a seed of one scorer
  flagged=FILE            Parquet file of the interactions known to be wrong: columns user, item, position
  runs=[DIR,...]          runs whose losses by difficulty are drawn, those that fed them back
  seeds=4                 seeds of a difficulty in which chance plays a part
  output=audit.html       where the page is written

examples:
  curriculum-rec audit experiment=quickstart difficulties=[sequence_rarity,transition_surprisal,history_entropy]
  curriculum-rec audit experiment=quickstart difficulties=[] scores=[loss.parquet,teachers/] flagged=noise.parquet
"""

COMMANDS = {
    "train": TRAIN,
    "resume": RESUME,
    "evaluate": EVALUATE,
    "recommend": RECOMMEND,
    "inspect": INSPECT,
    "audit": AUDIT,
}
