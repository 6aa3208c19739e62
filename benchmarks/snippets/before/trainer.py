from transformers import BertForSequenceClassification, Trainer, TrainingArguments

from benchmarks.snippets.text import config, rows

model = BertForSequenceClassification(config)
arguments = TrainingArguments("unused", report_to="none", use_cpu=True, max_steps=8)
trainer = Trainer(model, arguments, train_dataset=rows, eval_dataset=rows)
trainer.train()
print(trainer.evaluate())
