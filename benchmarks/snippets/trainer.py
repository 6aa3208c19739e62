from transformers import BertForSequenceClassification, Trainer, TrainingArguments

import poptrain as pt
from benchmarks.snippets.text import config, rows
from poptrain.integrations.transformers import TrainerMember


class Classifier(TrainerMember):
    def make(self, hp, seed):
        model = BertForSequenceClassification(config)
        arguments = TrainingArguments("unused", report_to="none", use_cpu=True, max_steps=8)
        return Trainer(model, arguments, train_dataset=rows, eval_dataset=rows)


space = pt.Space(lr=pt.LogUniform(1e-5, 1e-2), batch_size=pt.Ordinal(8, 16))
run = pt.run(pt.pbt(space, population=2, interval=2), Classifier, metric="eval_loss", mode="min", stop=pt.steps(8))
print(run.best.score, run.best.hparams)
