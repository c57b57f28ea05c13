"""The pages that show how models were trained, made of what run directories say."""
